import { nodeProvider } from '../../src/crypto/node.ts';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { zero } from '../../src/crypto/transforms.ts';
import { decodeSpi, encodeSpi } from '../../src/ike/child-sa.ts';
import type { InitiatorConfig, ResponderConfig, ResponderProfile } from '../../src/ike/config.ts';
import { ExchangeType, NotifyType, nameOf } from '../../src/ike/constants.ts';
import { IkeLineage } from '../../src/ike/lineage.ts';
import { peekHeader } from '../../src/ike/message.ts';
import type { IkeEvent, Output } from '../../src/ike/output.ts';
import { type Payload, ProtocolId, type Transform } from '../../src/ike/payload/index.ts';
import { findNotify, findPayload } from '../../src/ike/payloads.ts';
import type { Millis } from '../../src/link/clock.ts';
import type { SaOperation } from '../../src/link/sa-store.ts';
import { hex } from '../../src/wire/bytes.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { FakeStore } from './fake-store.ts';
import {
  type Credentials,
  initiatorConfig,
  mirror,
  responderConfig,
  sharedKey,
  TO_RESPONDER,
} from './ike-configs.ts';
import { names } from './pair.ts';
import { RecordingCrypto } from './recording-crypto.ts';
import { seededRandom } from './seeded-random.ts';

export type Side = 'a' | 'b';

/** SPIs on the wire start above the reserved ones; tests and tables count from 1. */
const SPI_BASE = 0x1000;
const NONCE_LENGTH = 32;

/** A message on its way. */
export interface InFlight {
  readonly to: Side;
  readonly message: Uint8Array;
}

/** A message as a test reads it. */
export interface Reading {
  /** The IKE SA that it belongs to, by its initiator's and its responder's SPI, as `Duel.ikeSas` counts them. */
  readonly ike: readonly [number, number];
  readonly exchange: string;
  readonly response: boolean;
  readonly payloads: readonly Payload[];
  /** Payloads by name, notifies as N(NAME). */
  readonly names: readonly string[];
  /** SPIs of its ESP Delete payloads, counted from 1. */
  readonly spis: readonly number[];
  /** What its REKEY_SA or CHILD_SA_NOT_FOUND names, counted from 1. */
  readonly rekeyed?: { readonly protocol: number; readonly spi: number };
  /** The transforms of its proposals. */
  readonly transforms: readonly (readonly Transform[])[];
  /** Of its KE payload. */
  readonly method?: number;
}

/** One of the two hosts: its IKE SA with those that replaced it, its SA database, and what it said. */
export class Host {
  readonly side: Side;
  readonly store: FakeStore;
  ike!: IkeLineage;
  readonly events: IkeEvent[] = [];
  /** Operations that are not carried out until `Duel.release`. */
  isHeld: (operation: SaOperation) => boolean = () => false;
  readonly held: { readonly id: number; readonly operation: SaOperation }[] = [];

  constructor(side: Side, store: FakeStore) {
    this.side = side;
    this.store = store;
  }

  get eventTypes(): string[] {
    return this.events.map(({ type }) => type);
  }

  /** The SPIs that are installed, in both directions, counted from 1; no SPI is used twice in a duel. */
  get installed(): number[] {
    return [...this.store.inbound.keys(), ...this.store.outbound.keys()].map(number).sort((x, y) => x - y);
  }

  /** The SPIs on which it receives, counted from 1. */
  get inbound(): number[] {
    return [...this.store.inbound.keys()].map(number).sort((x, y) => x - y);
  }

  /** The SPIs on which it sends, counted from 1, oldest first. */
  get outbound(): number[] {
    return [...this.store.outbound.keys()].map(number);
  }

  /** SPIs that are taken but not installed, counted from 1. */
  get reserved(): number[] {
    return [...this.store.reserved].filter((spi) => !this.store.inbound.has(spi)).map(number);
  }
}

function methodOf(payloads: readonly Payload[]): Pick<Reading, 'method'> {
  const ke = findPayload(payloads, 'KE');
  return ke === undefined ? {} : { method: ke.method };
}

function rekeyedOf(payloads: readonly Payload[]): Pick<Reading, 'rekeyed'> {
  const { REKEY_SA, CHILD_SA_NOT_FOUND } = NotifyType;
  const found = findNotify(payloads, REKEY_SA) ?? findNotify(payloads, CHILD_SA_NOT_FOUND);
  return found?.spi.length === 4
    ? { rekeyed: { protocol: found.protocol, spi: number(decodeSpi(found.spi)) } }
    : {};
}

function number(spi: number): number {
  return spi - SPI_BASE;
}

/** The SPI on the wire of one that is counted from 1. */
export function spi(counted: number): number {
  return SPI_BASE + counted;
}

export interface DuelOptions {
  readonly initiator?: Partial<InitiatorConfig>;
  readonly responder?: Partial<ResponderConfig>;
  readonly profile?: Partial<ResponderProfile>;
  /** Of what is drawn by chance. */
  readonly seed?: number;
}

/**
 * Two hosts with an established IKE SA: `a` is its initiator and receives on SPI 1, `b` on SPI 2. Every reservation of
 * either takes the next number. Nothing is delivered unless the test says so, and time stands still but for `advance`.
 */
export class Duel {
  readonly a: Host;
  readonly b: Host;
  /** The first octet of the nonces that are drawn from now on. */
  nonce = 0x80;
  now: Millis = 0;
  readonly crypto: RecordingCrypto;
  #flights: InFlight[] = [];
  readonly #ikeSpis: string[] = [];

  constructor(options: DuelOptions = {}) {
    const random = seededRandom(options.seed ?? 4711);
    const inner = nodeProvider((length) => {
      const octets = random(length);
      if (length === NONCE_LENGTH) octets[0] = this.nonce;
      return octets;
    });
    this.crypto = new RecordingCrypto(inner);
    let next = SPI_BASE;
    const nextSpi = () => ++next;
    this.a = new Host('a', new FakeStore(nextSpi));
    this.b = new Host('b', new FakeStore(nextSpi));
    this.#establish(options);
  }

  /** The other host. */
  peer(side: Side): Host {
    return side === 'a' ? this.b : this.a;
  }

  /** Calls a method of a host's IKE SA, and drains it. */
  call(side: Side, action: (ike: IkeLineage, now: Millis) => void): void {
    action(this[side].ike, this.now);
    this.#drain(this[side]);
  }

  /**
   * A host's IKE SAs by its own SPIs, oldest first, and the one that has the Child SAs: counted from 1, in the order in which
   * they appeared on the wire.
   */
  ikeSas(side: Side): { readonly all: readonly number[]; readonly current: number } {
    const { localSpis, localSpi } = this[side].ike;
    return { all: localSpis.map((spi) => this.#ikeSpi(spi)), current: this.#ikeSpi(localSpi) };
  }

  /** The messages on their way to a host, oldest first. */
  pending(side: Side): readonly InFlight[] {
    return this.#flights.filter(({ to }) => to === side);
  }

  /** Takes the oldest message to a host off the network: to be lost, or to be delivered later. */
  take(side: Side): InFlight {
    const flight = this.pending(side)[0];
    if (flight === undefined) throw new Error(`nothing is on its way to ${side}`);
    this.#flights = this.#flights.filter((other) => other !== flight);
    return flight;
  }

  /** Delivers the oldest message to a host, or one that was taken; it may be delivered again. */
  deliver(side: Side, flight: InFlight = this.take(side)): Reading {
    const reading = this.read(flight);
    const origin = side === 'a' ? TO_RESPONDER : mirror(TO_RESPONDER);
    this.call(side, (ike, now) => ike.handleDatagram(flight.message, origin, now));
    return reading;
  }

  /** Puts other payloads into a message on its way, and it into another exchange, as if its sender had. */
  rewrite({ to, message }: InFlight, payloads: readonly Payload[], exchangeType?: number): InFlight {
    return { to, message: this.crypto.rewrite(message, payloads, exchangeType) };
  }

  /** Has a host delete Child SAs, by its inbound SPIs counted from 1, without knowing it. */
  forge(side: Side, spis: readonly number[]): void {
    this.call(side, (ike, now) => ike.checkLiveness(now));
    const flight = this.#flights.pop()!;
    const deletion: Payload = {
      kind: 'DELETE',
      protocol: ProtocolId.ESP,
      spis: spis.map((counted) => encodeSpi(spi(counted))),
    };
    this.#flights.push(this.rewrite(flight, [deletion]));
  }

  /** Delivers everything, in the order in which it was sent, until nothing is on its way. */
  settle(): this {
    for (let flight = this.#flights[0]; flight !== undefined; flight = this.#flights[0])
      this.deliver(flight.to);
    return this;
  }

  read({ message }: InFlight): Reading {
    const { exchangeType, flags, spiI, spiR } = peekHeader(message)!;
    const payloads = this.crypto.read(message);
    return {
      ike: [this.#ikeSpi(hex(spiI)), this.#ikeSpi(hex(spiR))],
      exchange: nameOf(ExchangeType, exchangeType),
      response: flags.response,
      payloads,
      names: names(payloads),
      spis: payloads.flatMap((payload) =>
        payload.kind === 'DELETE' && payload.protocol === ProtocolId.ESP
          ? payload.spis.map((octets) => number(decodeSpi(octets)))
          : [],
      ),
      transforms: (findPayload(payloads, 'SA')?.proposals ?? []).map(({ transforms }) => transforms),
      ...methodOf(payloads),
      ...rekeyedOf(payloads),
    };
  }

  /** Lets time pass; what the hosts send in it stays on its way. */
  advance(duration: Millis): void {
    const until = this.now + duration;
    for (;;) {
      const due = [this.a, this.b]
        .map((host) => ({ host, at: host.ike.nextTimeout }))
        .filter(({ at }) => at !== undefined && at <= until)
        .sort((x, y) => x.at! - y.at!)[0];
      if (due === undefined) break;
      this.now = Math.max(this.now, due.at!);
      this.call(due.host.side, (ike, now) => ike.handleTimeout(now));
    }
    this.now = until;
  }

  /** Carries out the oldest operation that is held back. */
  release(side: Side): void {
    const { id, operation } = this[side].held.shift()!;
    this.#carryOut(this[side], id, operation);
    this.#drain(this[side]);
  }

  #establish({ initiator, responder, profile }: DuelOptions): void {
    const { provider } = this.crypto;
    const credentials = sharedKey('a duel');
    const config = responderConfig(provider, { ...duelProfile(credentials), ...profile });
    const a = IkeLineage.initiate(duelInitiator(provider, credentials, initiator), TO_RESPONDER, 0);
    this.a.ike = a;
    this.#drain(this.a);
    const { message } = this.take('b');
    const b = IkeLineage.respond({ ...config, ...responder }, message, mirror(TO_RESPONDER), 0);
    this.b.ike = b;
    this.#drain(this.b);
    this.settle();
    if (!a.established || !b.established) throw new Error('the IKE SA did not come up');
  }

  #drain(host: Host): void {
    const { ike } = host;
    for (let output = ike.poll(); output !== undefined; output = ike.poll()) this.#take(host, output);
  }

  #take(host: Host, output: Output): void {
    switch (output.kind) {
      case 'transmit':
        this.#countIkeSpis(output.message);
        this.#flights.push({ to: host.side === 'a' ? 'b' : 'a', message: output.message });
        break;
      case 'event':
        host.events.push(output.event);
        break;
      case 'operation':
        if (host.held.length > 0 || host.isHeld(output.operation)) {
          host.held.push({ id: output.id, operation: output.operation });
        } else this.#carryOut(host, output.id, output.operation);
    }
  }

  #countIkeSpis(message: Uint8Array): void {
    const { spiI, spiR } = peekHeader(message)!;
    if (this.#ikeSpis.length < 2) this.#ikeSpi(hex(this.#ikeSpis.length === 0 ? spiI : spiR));
    for (const payload of this.crypto.read(message)) {
      if (payload.kind !== 'SA') continue;
      const [{ protocol, spi }] = payload.proposals;
      if (protocol === ProtocolId.IKE && spi.length === 8) this.#ikeSpi(hex(spi));
    }
  }

  #ikeSpi(spi: string): number {
    if (!this.#ikeSpis.includes(spi)) this.#ikeSpis.push(spi);
    return this.#ikeSpis.indexOf(spi) + 1;
  }

  #carryOut(host: Host, id: number, operation: SaOperation): void {
    const result = host.store.apply(operation);
    if (operation.kind === 'inbound' || operation.kind === 'outbound') {
      zero(operation.sa.keys.encryption, operation.sa.keys.integrity);
    }
    host.ike.handleCompleted(id, result, this.now);
  }
}

function duelInitiator(
  provider: CryptoProvider,
  credentials: Credentials,
  changes: Partial<InitiatorConfig> | undefined,
): InitiatorConfig {
  return {
    ...initiatorConfig(provider, credentials),
    local: credentials.local,
    child: { tsI: [anySelector(4)], tsR: [anySelector(4)] },
    ...changes,
  };
}

function duelProfile({ local, remote }: Credentials): ResponderProfile {
  return { name: 'duel', local, remote, tsLocal: [anySelector(4)], tsRemote: [anySelector(4)] };
}
