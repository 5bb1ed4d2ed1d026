import type { CryptoProvider } from '../crypto/provider.ts';
import { NotifyType } from '../ike/constants.ts';
import { RefusedError } from '../ike/errors.ts';
import type { Clock, Millis } from '../link/clock.ts';
import type { Link } from '../link/link.ts';
import { assignedAddress } from '../telescope/profile.ts';
import { TunnelLink } from '../telescope/tunnel-link.ts';
import { type Address, type Family, familyOf } from '../wire/address.ts';
import { Asker } from './asker.ts';
import { type Attempt, attempt, type Place } from './client.ts';
import {
  judgeAddress,
  judgeAuthentication,
  judgeInit,
  judgeNat,
  judgeProof,
  judgeSelectors,
} from './judgement.ts';
import { OuterHeaders, type WatchPackets } from './outer-headers.ts';
import { POINTS, type Point, type PointId } from './point.ts';

export interface ProbeOptions {
  readonly crypto: CryptoProvider;
  readonly clock: Clock;
  /** The responder. */
  readonly address: Address;
  /** Each client is on a link of its own. @throws LinkError */
  openLink(): Promise<Link>;
  /** ESP in UDP from the start, for links that have no other. */
  readonly encapsulated: boolean;
  /** Of the addresses that it is to assign. Default: that of its own. */
  readonly family?: Family;
  /** The key that everybody knows, for responders that do not take NULL authentication. */
  readonly publicSharedKey: string;
  /** SubjectPublicKeyInfo: what the responder is expected to prove. */
  readonly publicKey?: Uint8Array;
  /** A host that answers echo requests, beyond the responder. */
  readonly echo?: Address;
  /** Relays that it is to forward to. */
  readonly relays: readonly Address[];
  /** Absent: outer headers cannot be seen. */
  readonly watch?: WatchPackets;
  /** Is told each point when it is known. */
  onPoint?(point: Point): void;
}

export interface ProbeReport {
  readonly points: readonly Point[];
  /** Nothing speaks against it. */
  readonly canServe: boolean;
}

/** Without these it is no relay; the others may stay unknown. */
const ESSENTIAL: readonly PointId[] = [
  'ike-sa-init',
  'client-authentication',
  'address',
  'selectors',
  'shared-identity',
];

/** Expedited Forwarding and ECT(0): two marks that somebody could copy. */
const MARKED = 0xba;
const DSCP = 0xfc;
const ECN = 0x03;

/** For messages and packets that may still be on their way. */
const LULL: Millis = 500;

/** No packet that a relay sees through the tunnel is larger. */
const TUNNEL_MTU = 1280;

/** Asks an IKEv2 responder, as clients of a telescope would, for all that a relay needs. @throws LinkError */
export async function probe(options: ProbeOptions): Promise<ProbeReport> {
  const points: Point[] = [];
  const tell = (...told: readonly Point[]) => {
    for (const point of told) {
      points.push(point);
      options.onPoint?.(point);
    }
  };
  const outer = options.watch && new OuterHeaders(options.watch, options.address);
  try {
    await investigate(options, outer, tell);
  } finally {
    outer?.stop();
  }
  for (const id of Object.keys(POINTS) as PointId[]) {
    if (points.some((point) => point.id === id)) continue;
    tell({ id, status: 'unknown', reason: 'there is no tunnel to find it out by' });
  }
  const canServe =
    points.every(({ status }) => status !== 'fail') &&
    points.every(({ id, status }) => status === 'pass' || !ESSENTIAL.includes(id));
  return { points, canServe };
}

async function investigate(
  options: ProbeOptions,
  outer: OuterHeaders | undefined,
  tell: (...points: readonly Point[]) => void,
): Promise<void> {
  const { crypto, clock, address, publicKey, publicSharedKey } = options;
  const place: Place = {
    address,
    encapsulated: options.encapsulated,
    family: options.family ?? familyOf(address),
  };
  const client = async (key: string | undefined, initialContact = false) =>
    attempt(await options.openLink(), place, {
      crypto,
      clock,
      initialContact,
      ...(key !== undefined && { publicSharedKey: key }),
    });

  const anonymous = await client(undefined);
  tell(judgeInit(anonymous));
  if (anonymous.witness.initAnswers.length === 0) {
    await anonymous.close();
    return;
  }
  const shared = await client(publicSharedKey);
  tell(judgeAuthentication(anonymous, shared));
  const key = isAuthenticated(anonymous) ? undefined : publicSharedKey;
  const [first, other] = key === undefined ? [anonymous, shared] : [shared, anonymous];
  await other.close();
  if (!isAuthenticated(first)) {
    await first.close();
    return;
  }
  tell(
    judgeProof(first, crypto, publicKey),
    judgeAddress(first, place.family),
    judgeSelectors(first, place.family),
    judgeNat(first),
  );
  if (first.connection === undefined) {
    await first.close();
    return;
  }
  const { survivor, point } = await shareIdentity(first, await client(key, true), place.family, clock);
  tell(point);
  if (survivor !== undefined) {
    await askInside(survivor, place, options, outer, tell);
    await survivor.close();
  }
}

/** Whether it did not refuse who the client is. */
function isAuthenticated({ error, witness }: Attempt): boolean {
  if (error === undefined) return true;
  if (error instanceof RefusedError && error.notify === NotifyType.AUTHENTICATION_FAILED) return false;
  return witness.authAnswer.some(({ kind }) => kind === 'AUTH');
}

/** Two clients that nobody can tell apart, the second of which says that it is the only one. One is left, for further questions. */
async function shareIdentity(
  first: Attempt,
  second: Attempt,
  family: Family,
  clock: Clock,
): Promise<{ readonly survivor: Attempt | undefined; readonly point: Point }> {
  const id = 'shared-identity';
  if (second.connection === undefined) {
    await second.close();
    const reason = `a second client is refused: ${second.error?.message}`;
    return { survivor: first, point: { id, status: 'fail', reason, remedy: UNIQUE } };
  }
  await delay(clock, LULL);
  const firstLives = await lives(first, clock);
  const [one, two] = [first, second].map(({ answer }) => assignedAddress(answer!, family));
  if (!firstLives) {
    await first.close();
    const reason = 'a second client of the same identity ended the first one';
    return { survivor: second, point: { id, status: 'fail', reason, remedy: UNIQUE } };
  }
  await second.close();
  if (one === two) {
    const reason = `both clients were assigned ${one}`;
    return { survivor: first, point: { id, status: 'fail', reason, remedy: UNIQUE } };
  }
  return { survivor: first, point: { id, status: 'pass', reason: 'two at once, with an address each' } };
}

const UNIQUE = 'strongSwan: unique = never; libreswan: uniqueids = no';

async function lives({ connection }: Attempt, clock: Clock): Promise<boolean> {
  const ended = await Promise.race([connection!.closed.then(() => true), delay(clock, 0).then(() => false)]);
  return !ended && (await connection!.checkLiveness());
}

function delay(clock: Clock, time: Millis): Promise<void> {
  return new Promise((resolve) => void clock.at(clock.now() + time, resolve));
}

async function askInside(
  client: Attempt,
  { address, family }: Place,
  options: ProbeOptions,
  outer: OuterHeaders | undefined,
  tell: (...points: readonly Point[]) => void,
): Promise<void> {
  const { clock, echo } = options;
  const { tunnel } = client.connection!.child!;
  const assigned = assignedAddress(client.answer!, family)!;
  const asker = new Asker(tunnel, assigned, clock);
  const target = echo ?? address;
  for (const kind of ['icmp', 'udp', 'tcp'] as const) {
    if (kind !== 'icmp' && echo === undefined) {
      tell({ id: kind, status: 'unknown', reason: 'nobody was asked', remedy: ECHO });
      continue;
    }
    const reply = await asker.ask(kind, target);
    tell(
      reply === undefined
        ? {
            id: kind,
            status: 'unknown',
            reason: `no answer of ${target}`,
            ...(echo === undefined && { remedy: ECHO }),
          }
        : { id: kind, status: 'pass', reason: `${target} has answered` },
    );
  }
  await askForMarks(asker, target, clock, outer, tell);
  for (const relay of options.relays)
    tell(await askRelay(new TunnelLink(tunnel, assigned, TUNNEL_MTU), relay, family, options));
  if (options.relays.length === 0) {
    tell({ id: 'relay', status: 'unknown', reason: 'no other relay was named', remedy: '--relay ADDRESS' });
  }
}

const ECHO = '--echo ADDRESS of a host that answers, beyond the responder';

async function askForMarks(
  asker: Asker,
  target: Address,
  clock: Clock,
  outer: OuterHeaders | undefined,
  tell: (...points: readonly Point[]) => void,
): Promise<void> {
  if (outer === undefined) {
    const blind = {
      status: 'unknown',
      reason: 'outer headers cannot be seen',
      remedy: 'as root, with koffi',
    } as const;
    tell({ id: 'dscp', ...blind }, { id: 'ecn', ...blind }, { id: 'ttl', ...blind });
    return;
  }
  const before = outer.count;
  const marked = await asker.ask('icmp', target, { trafficClass: MARKED });
  const low = marked && (await asker.ask('icmp', target, { ttl: 1 }));
  await delay(clock, LULL);
  const classes = outer.trafficClasses(before);
  for (const [id, mask, option] of [
    ['dscp', DSCP, 'copy_dscp = no'],
    ['ecn', ECN, 'copy_ecn = no'],
  ] as const) {
    if (marked === undefined || (marked.trafficClass & mask) !== (MARKED & mask) || classes.length === 0) {
      const reason = marked === undefined ? `no echo of ${target}` : 'the echo came back without';
      tell({ id, status: 'unknown', reason, remedy: ECHO });
    } else if (classes.some((each) => (each & mask) !== 0)) {
      tell({
        id,
        status: 'fail',
        reason: 'what is inside can be seen outside',
        remedy: `strongSwan: ${option}`,
      });
    } else tell({ id, status: 'pass', reason: 'marks inside are not seen outside' });
  }
  const hop =
    marked === undefined
      ? ''
      : low?.kind === 'answer'
        ? '; it is no hop of its own inside'
        : '; inside, it counts as a hop';
  const { ttls } = outer;
  tell(
    ttls.length === 1
      ? { id: 'ttl', status: 'pass', reason: `always ${ttls[0]} here${hop}` }
      : {
          id: 'ttl',
          status: 'fail',
          reason: `${ttls.join(', ')} here${hop}`,
          remedy: 'one TTL for all packets',
        },
  );
}

async function askRelay(link: Link, relay: Address, family: Family, options: ProbeOptions): Promise<Point> {
  const { crypto, clock } = options;
  const { witness, close } = await attempt(
    link,
    { address: relay, encapsulated: false, family },
    { crypto, clock },
  );
  await close();
  const point = { id: 'relay', status: 'fail', remedy: OVERLAY } as const;
  if (witness.initAnswers.length === 0)
    return { ...point, reason: `${relay} does not answer IKE_SA_INIT through the tunnel` };
  if (witness.nat?.local)
    return {
      ...point,
      reason: `${relay} sees another address than the one assigned: by an exit, not by an overlay`,
    };
  return { id: 'relay', status: 'pass', reason: `${relay} answers IKE_SA_INIT through the tunnel` };
}

const OVERLAY =
  'an overlay tunnel of the two, for the addresses that each assigns to reach the other: ike-telescope relay-config';
