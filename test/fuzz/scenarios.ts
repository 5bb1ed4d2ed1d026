import { nodeProvider } from '../../src/crypto/node.ts';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { TransformType } from '../../src/crypto/transforms.ts';
import type { InitiatorConfig, Proposal, ResponderConfig, ResponderProfile } from '../../src/ike/config.ts';
import { IdType } from '../../src/ike/constants.ts';
import type { IkeLineage } from '../../src/ike/lineage.ts';
import { defaultChildProposals, defaultIkeProposals } from '../../src/ike/proposal.ts';
import type { Millis } from '../../src/link/clock.ts';
import type { SaUsed } from '../../src/link/sa-store.ts';
import { concat, utf8 } from '../../src/wire/bytes.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import {
  anonymousProfile,
  type Credentials,
  initiatorConfig,
  responderConfig,
  sharedKey,
} from '../support/ike-configs.ts';
import type { End, PairOptions, Side } from '../support/pair.ts';
import { certified } from '../support/pki.ts';
import { ed25519Key } from '../support/signing-keys.ts';
import { transforms } from '../support/transforms-text.ts';
import type { Random } from './random.ts';

/** A relay with an Ed25519 key: the same always, and its signatures draw nothing from OpenSSL, so that runs repeat. */
function signed(octet: number, sendKey: boolean): Credentials {
  const key = ed25519Key(nodeProvider(), octet);
  const identity = { type: IdType.ID_KEY_ID, data: utf8('relay') };
  return {
    local: { kind: 'signature', identity, key, sendKey },
    remote: { kind: 'signature', publicKey: key.publicKey },
  };
}

const RELAY = signed(1, false);
const PEER = signed(2, true);
const SECRET = sharedKey('relay');
const CERTIFIED = certified(nodeProvider(), 'relay-ed25519');
const SEVERAL: Pick<InitiatorConfig, 'ikeProposals' | 'childProposals'> = {
  ikeProposals: [{ transforms: transforms('ENCR 20/256, PRF 5, KE 31, ADDKE1 19, ADDKE2 0, ADDKE2 20') }],
  childProposals: [{ transforms: transforms('ENCR 20/256, KE 31, ADDKE1 19, ESN 1') }],
};
const MIXED_IN = {
  id: concat(Uint8Array.of(2), utf8('shared')),
  secret: utf8('by both ends, and long enough'),
};
/** Milliseconds, so that an attack lives to see it. */
const SHORT: Pick<InitiatorConfig, 'ikeLifetime' | 'childLifetime'> = {
  ikeLifetime: { soft: 700, jitter: 400, hard: 2_000 },
  childLifetime: { soft: 400, jitter: 300, hard: 1_500 },
};

/** Two ends and how they are set up. */
interface Setup {
  readonly initiator?: (config: InitiatorConfig) => InitiatorConfig;
  readonly responder?: (config: ResponderConfig) => ResponderConfig;
  readonly profile?: (profile: ResponderProfile) => ResponderProfile;
  readonly relay?: Credentials;
  readonly pair?: Partial<PairOptions>;
}

/** The proposals with the transforms of `type` for which `wanted` is false left out. */
function only(proposals: readonly Proposal[], type: number, wanted: (id: number) => boolean): Proposal[] {
  return proposals
    .map(({ transforms }) => ({ transforms: transforms.filter((t) => t.type !== type || wanted(t.id)) }))
    .filter(({ transforms }) => transforms.some((t) => t.type === type));
}

function withKeyExchange(proposals: readonly Proposal[], methods: readonly number[]): Proposal[] {
  const added = methods.map((id) => ({ type: TransformType.KE, id }));
  return proposals.map(({ transforms }) => ({ transforms: [...transforms, ...added] }));
}

function overlayInitiator(config: InitiatorConfig): InitiatorConfig {
  return {
    ...config,
    local: PEER.local,
    initialContact: true,
    child: { tsI: [anySelector(4), anySelector(6)], tsR: [anySelector(4)] },
  };
}

function overlayProfile({ assigner: _, ...profile }: ResponderProfile): ResponderProfile {
  return {
    ...profile,
    remote: PEER.remote,
    tsRemote: [anySelector(4), anySelector(6)],
    contactKey: 'peer',
    maxChildren: 3,
  };
}

/** How IKE SAs come up, each with payloads and states that the others do not have. */
const SETUPS: Readonly<Record<string, Setup>> = {
  'a client that proves nothing': {},
  'a relay that proves a shared key': { relay: SECRET },
  'an overlay of two relays': { initiator: overlayInitiator, profile: overlayProfile },
  'a client that must return a cookie': { relay: SECRET, pair: { cookieThreshold: 0 } },
  'a client that must use another group': {
    responder: (config) => ({
      ...config,
      ikeProposals: only(config.ikeProposals, TransformType.KE, (id) => id === 19),
    }),
    pair: { cookieThreshold: 0 },
  },
  'ciphers with an integrity transform': {
    relay: SECRET,
    responder: (config) => ({
      ...config,
      ikeProposals: only(defaultIkeProposals, TransformType.INTEG, () => true),
      childProposals: only(defaultChildProposals, TransformType.INTEG, () => true),
    }),
  },
  'children with a key exchange of their own': {
    initiator: (config) => ({ ...config, childProposals: withKeyExchange(config.childProposals, [31, 19]) }),
    responder: (config) => ({ ...config, childProposals: withKeyExchange(config.childProposals, [19, 31]) }),
    profile: (profile) => ({ ...profile, maxChildren: 3 }),
  },
  'a client behind a NAT': {
    relay: SECRET,
    initiator: (config) => ({ ...config, natDetection: true }),
    pair: { translate: (origin) => ({ ...origin, address: '203.0.113.77', port: origin.port + 40_000 }) },
  },
  'addresses of both families': {
    relay: SECRET,
    initiator: (config) => ({
      ...config,
      child: {
        tsI: [anySelector(4), anySelector(6)],
        tsR: [anySelector(4), anySelector(6)],
        addresses: { ip4: true, ip4Dns: true, ip6: true, ip6Dns: true },
      },
    }),
  },
  'a responder that has no address to assign': {
    relay: SECRET,
    profile: (profile) => ({ ...profile, assigner: { assign: () => undefined, release: () => {} } }),
  },
  'a client whose proof is wrong': {
    initiator: (config) => ({ ...config, local: sharedKey('wrong').local }),
    profile: (profile) => ({ ...profile, remote: SECRET.remote }),
  },
  'messages in fragments': {
    relay: SECRET,
    initiator: (config) => ({ ...config, fragmentation: true, pathMtu: 250 }),
    responder: (config) => ({ ...config, pathMtu: 250 }),
  },
  'a relay with certificates': {
    initiator: (config) => ({ ...config, remote: CERTIFIED.remote }),
    profile: (profile) => ({ ...profile, local: CERTIFIED.local }),
  },
  'several key exchanges': {
    relay: SECRET,
    initiator: (config) => ({ ...config, ...SEVERAL }),
    responder: (config) => ({ ...config, ...SEVERAL }),
    profile: (profile) => ({ ...profile, maxChildren: 3 }),
  },
  'a key that is mixed in': {
    initiator: (config) => ({ ...overlayInitiator(config), ppk: { ...MIXED_IN, mandatory: false } }),
    responder: (config) => ({ ...config, usesPpk: true }),
    profile: (profile) => ({ ...overlayProfile(profile), ppk: { keys: [MIXED_IN], mandatory: false } }),
  },
  'no Child SA at first': {
    relay: SECRET,
    initiator: ({ child: _, ...config }) => config,
    responder: (config) => ({ ...config, childless: 'allowed' }),
    profile: ({ assigner: _, ...profile }) => ({ ...profile, tsRemote: [anySelector(4)], maxChildren: 2 }),
  },
  'a client that moves': {
    relay: SECRET,
    initiator: (config) => ({ ...config, natDetection: true, mobike: true }),
    profile: (profile) => ({ ...profile, mobike: () => true }),
  },
  'a client that must solve puzzles': {
    responder: (config) => ({ ...config, authPuzzleDifficulty: 8 }),
    pair: { cookieThreshold: 0, puzzles: { threshold: 0, maximum: 1_000, difficulty: 8 } },
  },
  'methods that are announced': {
    initiator: (config) => ({ ...config, announceMethods: true, alternatives: [SECRET.local] }),
    responder: (config) => ({ ...config, announcedMethods: ['null', 'signature'] }),
    profile: (profile) => ({ ...profile, authLifetime: 2_000 }),
  },
  'short lives': {
    relay: SECRET,
    initiator: (config) => ({ ...config, ...SHORT }),
    responder: (config) => ({ ...config, ...SHORT }),
  },
  'a relay whose proof is wrong': {
    initiator: (config) => ({ ...config, remote: PEER.remote }),
  },
};

export const SETUP_NAMES: readonly string[] = Object.keys(SETUPS);

/** @throws RangeError for a name that there is not */
export function setUp(name: string, crypto: CryptoProvider): PairOptions {
  const setup = SETUPS[name];
  if (setup === undefined) throw new RangeError(`there is no set-up "${name}"`);
  const { relay = RELAY, initiator = same, responder = same, profile = same, pair } = setup;
  return {
    initiator: initiator(initiatorConfig(crypto, relay)),
    responder: responder(responderConfig(crypto, profile(anonymousProfile(relay)))),
    ...pair,
  };
}

function same<T>(value: T): T {
  return value;
}

/** What an end does of its own. */
const ACTIONS: Readonly<Record<string, (ike: IkeLineage, now: Millis, end: End) => void>> = {
  liveness: (ike, now) => ike.checkLiveness(now),
  'close the child': (ike, now, end) => {
    for (const id of tunnelsOf(end)) ike.closeChild(id, now);
  },
  'rekey the child': (ike, now, end) => {
    for (const id of tunnelsOf(end)) ike.rekeyChild(id, now);
  },
  'create a child': (ike, now) => ike.createChild({ tsI: [anySelector(4)], tsR: [anySelector(4)] }, now),
  'use the children': (ike, now, end) => tellOf('used', ike, now, end),
  'use the children up': (ike, now, end) => tellOf('soft', ike, now, end),
  'use more than the children': (ike, now, end) => tellOf('hard', ike, now, end),
  move: (ike, now) => {
    if (ike.role === 'initiator') ike.updateAddresses({ ...ike.origin, localAddress: '203.0.113.50' }, now);
  },
  rekey: (ike, now) => ike.rekey(now),
  close: (ike, now) => ike.close(now),
};

function tunnelsOf({ events }: End): string[] {
  return events.flatMap((event) => (event.type === 'child-established' ? [event.child.tunnel.id] : []));
}

/** What a backend says of the inbound SAs that it has. */
function tellOf(kind: SaUsed['kind'], ike: IkeLineage, now: Millis, { store }: End): void {
  for (const [spi, { tunnel }] of store.inbound) {
    ike.handleSaEvent({ kind, direction: 'inbound', spi, tunnelId: tunnel.id }, now);
  }
}

/** Something that one end is told to do. */
export interface Action {
  readonly at: Millis;
  readonly side: Side;
  readonly what: string;
}

export function act({ what }: Action, ike: IkeLineage, now: Millis, end: End): void {
  ACTIONS[what](ike, now, end);
}

/** A few actions of both sides, in order, after the time that setting up takes; an end mostly comes last. */
export function drawScript(random: Random): Action[] {
  const script: Action[] = [];
  const names = Object.keys(ACTIONS).filter((name) => name !== 'close');
  const side = () => random.pick(['initiator', 'responder'] as const);
  let at = 90 + random.below(200);
  for (let count = random.below(7); count > 0; count--) {
    script.push({ at, side: side(), what: random.pick(names) });
    at += random.pick([0, 10, 25, 60, 150]);
  }
  if (random.chance(0.5)) script.push({ at, side: side(), what: 'close' });
  return script;
}
