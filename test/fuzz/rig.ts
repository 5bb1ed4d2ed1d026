import { nodeProvider } from '../../src/crypto/node.ts';
import type { CryptoProvider, Protector } from '../../src/crypto/provider.ts';
import { ExchangeType, NotifyType, nameOf } from '../../src/ike/constants.ts';
import { Reassembly } from '../../src/ike/fragmentation.ts';
import { decodePlain, decodeProtected, peekHeader } from '../../src/ike/message.ts';
import { type Payload, ProtocolId } from '../../src/ike/payload/index.ts';
import type { Millis } from '../../src/link/clock.ts';
import { type End, LATENCY, Pair, type Sent, type Side } from '../support/pair.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { MeteredCrypto } from './metered-crypto.ts';
import { Random } from './random.ts';
import { type Action, act, drawScript, setUp } from './scenarios.ts';
import { standInX25519 } from './stand-in.ts';

/** What makes a pair of IKE SAs the same again. */
export interface Scenario {
  readonly setup: string;
  readonly seed: number;
  /** When the attack begins. */
  readonly cut: Millis;
  /** For how long the network then loses everything, so that both ends wait for answers. Default: not at all. */
  readonly silence?: Millis;
}

/** One IKE SA as its messages show it. */
export interface Stream {
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
  /** The side of the pair that is the original initiator of this IKE SA: its messages have the I flag (RFC 7296 2.2). */
  readonly initiator: Side;
  readonly protectors: { [side in Side]?: Protector };
}

/** One scenario in eight does X25519; in the others, for speed, something stands in for it. All else is always real. */
export function hasRealKeyExchange(seed: number): boolean {
  return seed % 8 === 0;
}

export const OTHER: Readonly<Record<Side, Side>> = { initiator: 'responder', responder: 'initiator' };

/** A pair of IKE SAs that follows a script up to a point, and what an attacker could know of it, keys included. */
export class Rig {
  readonly pair: Pair;
  readonly crypto: MeteredCrypto;
  readonly streams: Stream[] = [];
  /** Messages that an attacker has taken off the way, the oldest first. */
  readonly held: Sent[] = [];
  /** Whether messages are taken off the way from now on. */
  holding = false;
  /** The sides that were established when the attack began. */
  readonly established: ReadonlySet<Side>;
  readonly #script: Action[];
  readonly #arrivals = new Map<string, Millis>();
  readonly #stores: Millis;
  #silentUntil: Millis = 0;

  constructor(
    { setup, seed, cut, silence = 0 }: Scenario,
    spoil: (crypto: CryptoProvider) => CryptoProvider = (crypto) => crypto,
  ) {
    const random = new Random(seed, 1);
    const provider = nodeProvider(seededRandom(seed));
    this.crypto = new MeteredCrypto(spoil(hasRealKeyExchange(seed) ? provider : standInX25519(provider)));
    this.#script = drawScript(random);
    this.#stores = random.chance(0.3) ? 7 : 0;
    const options = setUp(setup, this.crypto.provider);
    this.pair = new Pair({ ...options, network: (sent) => this.#carry(sent) });
    for (const store of [this.pair.initiator.store, this.pair.responderStore])
      store.delay = () => this.#stores;
    this.advance(cut);
    this.#silentUntil = cut + silence;
    const sides = ['initiator', 'responder'] as const;
    this.established = new Set(sides.filter((side) => this.end(side)?.ike.established === true));
  }

  /** Lets time pass, in which both ends go on with the script. */
  advance(duration: Millis): void {
    const until = this.pair.now + duration;
    for (let next = this.#script[0]; next !== undefined && next.at <= until; next = this.#script[0]) {
      this.#script.shift();
      if (next.at > this.pair.now) this.#run(next.at - this.pair.now);
      const { now } = this.pair;
      const end = this.end(next.side);
      if (end !== undefined) this.pair.call(end, (ike) => act(next, ike, now, end));
    }
    this.#run(until - this.pair.now);
  }

  /** The initiator, or the responder's latest IKE SA. */
  end(side: Side): End | undefined {
    return side === 'initiator' ? this.pair.initiator : this.pair.responders.at(-1);
  }

  /** What a message is to its receiver: due are those that are under way or held. */
  origin(message: Uint8Array): 'due' | 'delivered' | 'foreign' {
    const arrival = this.#arrivals.get(key(message));
    if (arrival === undefined) return 'foreign';
    return arrival > this.pair.now ? 'due' : 'delivered';
  }

  /** A message that was held is let go on. */
  arrive(message: Uint8Array): void {
    this.#arrivals.set(key(message), this.pair.now);
  }

  /** The cipher of what `from` sends in an IKE SA; undefined while nothing shows which it is. */
  protector(stream: Stream, from: Side): Protector | undefined {
    stream.protectors[from] ??= this.#identify(stream, from);
    return stream.protectors[from];
  }

  /** The payloads of a message of the pair's. */
  read(message: Uint8Array): readonly Payload[] | undefined {
    const plain = decodePlain(message);
    if (plain.kind === 'ok') return plain.payloads;
    for (const protector of [...this.crypto.protectors].reverse()) {
      const decoded = decodeProtected(message, protector);
      if (decoded.kind === 'ok') return decoded.payloads;
    }
    return undefined;
  }

  /** Of the messages of an IKE SA that a side sent, the last request or response. */
  last(stream: Stream, from: Side, response: boolean): Uint8Array | undefined {
    for (let i = this.pair.sent.length - 1; i >= 0; i--) {
      const { from: sender, message } = this.pair.sent[i];
      if (sender === from && isResponse(message) === response && isOf(stream, message)) return message;
    }
    return undefined;
  }

  #identify(stream: Stream, from: Side): Protector | undefined {
    const { protectors } = this.crypto;
    for (const sender of [from, OTHER[from]]) {
      const sample = this.pair.sent.findLast(
        ({ from: side, message }) => side === sender && message[18] !== 34 && isOf(stream, message),
      );
      if (sample === undefined) continue;
      const index = protectors.findLastIndex(
        (own) => decodeProtected(sample.message, own, new Reassembly()).kind !== 'discard',
      );
      // They are made in couples, the initiator's first.
      if (index >= 0) return protectors[sender === from ? index : index ^ 1];
    }
    return undefined;
  }

  #run(duration: Millis): void {
    const until = this.pair.now + duration;
    this.pair.run(duration);
    this.pair.now = until;
  }

  #carry(sent: Sent): readonly Millis[] {
    this.#know(sent);
    const name = key(sent.message);
    if (this.holding) this.held.push(sent);
    if (this.holding || sent.at < this.#silentUntil) {
      // It is the peer's as long as it has not arrived.
      if (!this.#arrivals.has(name)) this.#arrivals.set(name, Number.POSITIVE_INFINITY);
      return [];
    }
    const arrival = sent.at + LATENCY;
    this.#arrivals.set(name, Math.min(arrival, this.#arrivals.get(name) ?? arrival));
    return [LATENCY];
  }

  #know({ from, message }: Sent): void {
    const header = peekHeader(message);
    if (header === undefined || header.spiR.every((octet) => octet === 0)) return;
    if (this.streams.some((stream) => isOf(stream, message))) return;
    const { spiI, spiR, flags } = header;
    this.streams.push({ spiI, spiR, initiator: flags.initiator ? from : OTHER[from], protectors: {} });
  }
}

function isResponse(message: Uint8Array): boolean {
  return (message[19] & 0x20) !== 0;
}

function isOf({ spiI, spiR }: Stream, message: Uint8Array): boolean {
  return spiI.every((octet, i) => octet === message[i]) && spiR.every((octet, i) => octet === message[8 + i]);
}

function key(message: Uint8Array): string {
  return Buffer.from(message.buffer, message.byteOffset, message.length).toString('latin1');
}

/** Everything of an end that can be seen, and of its backend. */
export function digest({ ike, store, events }: End): string {
  const { address, port, localAddress, localPort, encapsulated } = ike.origin;
  return [
    ike.closed,
    ike.established,
    ike.exchanges,
    ike.nextTimeout,
    `${address}:${port} ${localAddress}:${localPort} ${encapsulated}`,
    events.length,
    store.log.length,
    [...store.inbound.keys()],
    [...store.outbound.keys()],
    [...store.reserved],
    ike.localSpi,
    ike.localSpis,
  ].join('|');
}

/** What an end is in the middle of. */
export function stateOf(rig: Rig, side: Side): string {
  const end = rig.end(side);
  if (end === undefined) return `${side}: nothing yet`;
  const { ike } = end;
  if (ike.closed) return `${side}: closed`;
  if (!ike.established) {
    if (side === 'responder') return 'responder: half-open';
    return rig.pair.sent.some(({ from, message }) => from === side && message[18] !== 34)
      ? 'initiator: authenticating'
      : 'initiator: initiating';
  }
  return `${side}: ${outstanding(rig, side) ?? 'established'}`;
}

/** What the request says that an end has out, if its response has not arrived. */
function outstanding(rig: Rig, side: Side): string | undefined {
  const stream = rig.streams.at(-1);
  const request = stream && rig.last(stream, side, false);
  if (request === undefined) return undefined;
  const id = new DataView(request.buffer, request.byteOffset).getUint32(20);
  const response = rig.last(stream!, OTHER[side], true);
  if (
    response !== undefined &&
    new DataView(response.buffer, response.byteOffset).getUint32(20) === id &&
    rig.origin(response) === 'delivered'
  ) {
    return undefined;
  }
  const known = purposes.get(request);
  if (known !== undefined) return known;
  const purpose = purposeOf(request[18], rig.read(request) ?? []);
  purposes.set(request, purpose);
  return purpose;
}

const purposes = new WeakMap<Uint8Array, string>();

function purposeOf(exchangeType: number, payloads: readonly Payload[]): string {
  for (const payload of payloads) {
    if (payload.kind === 'DELETE') return payload.spis.length === 0 ? 'deleting' : 'deleting a child';
    if (payload.kind === 'NOTIFY' && payload.type === NotifyType.REKEY_SA) return 'rekeying a child';
    if (payload.kind === 'SA' && exchangeType === ExchangeType.CREATE_CHILD_SA) {
      return payload.proposals[0]?.protocol === ProtocolId.IKE ? 'rekeying' : 'creating a child';
    }
  }
  return nameOf(ExchangeType, exchangeType);
}
