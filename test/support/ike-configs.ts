import { AddressPool } from '../../src/cp/address-pool.ts';
import type { CryptoProvider, KeyType } from '../../src/crypto/provider.ts';
import type {
  ChildRequest,
  InitiatorConfig,
  LocalAuthentication,
  ProvableAuthentication,
  ResponderConfig,
  ResponderProfile,
  RetransmissionSchedule,
} from '../../src/ike/config.ts';
import { IdType } from '../../src/ike/constants.ts';
import { defaultChildProposals, defaultIkeProposals } from '../../src/ike/proposal.ts';
import type { Origin } from '../../src/link/link.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { utf8 } from '../../src/wire/bytes.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { seededRandom } from './seeded-random.ts';
import { rsaKey } from './signing-keys.ts';

export const SCHEDULE: RetransmissionSchedule = { first: 500, factor: 2, cap: 4000, tries: 6 };

/** The responder as the initiator addresses it. */
export const TO_RESPONDER: Origin = {
  linkId: 'host',
  address: '198.51.100.2',
  port: 500,
  localAddress: '198.51.100.1',
  localPort: 500,
  encapsulated: false,
};

/** Where what is sent to `origin` arrives from. */
export function mirror(origin: Origin): Origin {
  const { address, port, localAddress, localPort } = origin;
  return { ...origin, address: localAddress, port: localPort, localAddress: address, localPort: port };
}

export const NULL_AUTH = { kind: 'null' } as const;

/** Two ends of one authentication method. */
export interface Credentials {
  readonly local: LocalAuthentication;
  readonly remote: ProvableAuthentication;
}

export function sharedKey(secret: string, name = 'relay.example'): Credentials {
  const identity = { type: IdType.ID_FQDN, data: utf8(name) };
  return {
    local: { kind: 'shared-key', identity, secret: utf8(secret) },
    remote: { kind: 'shared-key', secret: utf8(secret) },
  };
}

export function signature(crypto: CryptoProvider, type: KeyType = 'ed25519', sendKey = false): Credentials {
  const key = type === 'rsa' ? rsaKey(crypto) : crypto.signatures.generate(type);
  const identity = { type: IdType.ID_KEY_ID, data: utf8('relay') };
  return {
    local: { kind: 'signature', identity, key, sendKey },
    remote: { kind: 'signature', publicKey: key.publicKey },
  };
}

export function pool(block = '10.9.0.0/24'): AddressPool {
  return new AddressPool({ ip4: parsePrefix(block), ip4Dns: ['10.9.0.53'], random: seededRandom(77) });
}

/** An anonymous client at hop 2 and beyond, and the relay it extends to. */
export function initiatorConfig(
  crypto: CryptoProvider,
  relay: Credentials,
): InitiatorConfig & { readonly child: ChildRequest } {
  return {
    crypto,
    ikeProposals: defaultIkeProposals,
    childProposals: defaultChildProposals,
    retransmission: SCHEDULE,
    local: NULL_AUTH,
    remote: relay.remote,
    child: {
      tsI: [anySelector(4)],
      tsR: [anySelector(4)],
      addresses: { ip4: true, ip6: false, ip4Dns: true, ip6Dns: false },
    },
    acceptChild: () => undefined,
    initialContact: false,
    natDetection: false,
  };
}

export function anonymousProfile(relay: Credentials): ResponderProfile {
  return {
    name: 'anonymous',
    local: relay.local,
    remote: NULL_AUTH,
    tsLocal: [anySelector(4)],
    tsRemote: [],
    assigner: pool(),
    childlessTimeout: 10_000,
  };
}

export function responderConfig(crypto: CryptoProvider, profile: ResponderProfile): ResponderConfig {
  return {
    crypto,
    ikeProposals: defaultIkeProposals,
    childProposals: defaultChildProposals,
    retransmission: SCHEDULE,
    profile: () => profile,
    halfOpenTimeout: 30_000,
  };
}
