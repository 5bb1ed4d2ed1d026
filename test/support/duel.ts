import { nodeProvider } from '../../src/crypto/node.ts';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { zero } from '../../src/crypto/transforms.ts';
import type { InitiatorConfig, ResponderConfig, ResponderProfile } from '../../src/ike/config.ts';
import { ExchangeType, nameOf } from '../../src/ike/constants.ts';
import { IkeSa } from '../../src/ike/ike-sa.ts';
import { peekHeader } from '../../src/ike/message.ts';
import type { IkeEvent, Output } from '../../src/ike/output.ts';
import type { Payload } from '../../src/ike/payload/index.ts';
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
  readonly exchange: string;
  readonly response: boolean;
  readonly payloads: readonly Payload[];
  /** Payloads by name, notifies as N(NAME). */
  readonly names: readonly string[];
}

/** One of the two hosts: its IKE SA with those that replaced it, its SA database, and what it said. */
export class Host {
  readonly side: Side;
  readonly store: FakeStore;
  /** In the order in which they were made. */
  readonly cores: IkeSa[] = [];
  readonly events: IkeEvent[] = [];
  /** Operations that are not carried out until `Duel.release`. */
  isHeld: (operation: SaOperation) => boolean = () => false;
  readonly held: { readonly core: IkeSa; readonly id: number; readonly operation: SaOperation }[] = [];

  constructor(side: Side, store: FakeStore) {
    this.side = side;
    this.store = store;
  }

  /** The IKE SA that counts: the last one made. */
  get ike(): IkeSa {
    return this.cores.at(-1)!;
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

  constructor(options: DuelOptions = {}) {
    const random = seededRandom(4711);
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

  /** Calls a method of a host's IKE SA, by default of the one that counts, and drains it. */
  call(side: Side, action: (ike: IkeSa, now: Millis) => void, core = this[side].ike): void {
    action(core, this.now);
    this.#drain(this[side], core);
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
    const header = peekHeader(flight.message)!;
    const own = hex(header.flags.initiator ? header.spiR : header.spiI);
    const host = this[side];
    const core = host.cores.find(({ localSpi }) => localSpi === own);
    const origin = side === 'a' ? TO_RESPONDER : mirror(TO_RESPONDER);
    if (core !== undefined)
      this.call(side, (ike, now) => ike.handleDatagram(flight.message, origin, now), core);
    return reading;
  }

  /** Delivers everything, in the order in which it was sent, until nothing is on its way. */
  settle(): this {
    for (let flight = this.#flights[0]; flight !== undefined; flight = this.#flights[0])
      this.deliver(flight.to);
    return this;
  }

  read({ message }: InFlight): Reading {
    const { exchangeType, flags } = peekHeader(message)!;
    const payloads = this.crypto.read(message);
    return {
      exchange: nameOf(ExchangeType, exchangeType),
      response: flags.response,
      payloads,
      names: names(payloads),
    };
  }

  /** Lets time pass; what the hosts send in it stays on its way. */
  advance(duration: Millis): void {
    const until = this.now + duration;
    for (;;) {
      const due = [this.a, this.b]
        .flatMap((host) => host.cores.map((core) => ({ host, core, at: core.nextTimeout })))
        .filter(({ at }) => at !== undefined && at <= until)
        .sort((x, y) => x.at! - y.at!)[0];
      if (due === undefined) break;
      this.now = Math.max(this.now, due.at!);
      this.call(due.host.side, (ike, now) => ike.handleTimeout(now), due.core);
    }
    this.now = until;
  }

  /** Carries out the oldest operation that is held back. */
  release(side: Side): void {
    const { core, id, operation } = this[side].held.shift()!;
    this.#carryOut(this[side], core, id, operation);
    this.#drain(this[side], core);
  }

  #establish({ initiator, responder, profile }: DuelOptions): void {
    const { provider } = this.crypto;
    const credentials = sharedKey('a duel');
    const config = responderConfig(provider, { ...duelProfile(credentials), ...profile });
    const a = IkeSa.initiate(duelInitiator(provider, credentials, initiator), TO_RESPONDER, 0);
    this.a.cores.push(a);
    this.#drain(this.a, a);
    const { message } = this.take('b');
    const b = IkeSa.respond({ ...config, ...responder }, message, mirror(TO_RESPONDER), 0);
    this.b.cores.push(b);
    this.#drain(this.b, b);
    this.settle();
    if (!a.established || !b.established) throw new Error('the IKE SA did not come up');
  }

  #drain(host: Host, core: IkeSa): void {
    for (let output = core.poll(); output !== undefined; output = core.poll()) this.#take(host, core, output);
  }

  #take(host: Host, core: IkeSa, output: Output): void {
    switch (output.kind) {
      case 'transmit':
        this.#flights.push({ to: host.side === 'a' ? 'b' : 'a', message: output.message });
        break;
      case 'event':
        host.events.push(output.event);
        break;
      case 'operation':
        if (host.held.length > 0 || host.isHeld(output.operation)) {
          host.held.push({ core, id: output.id, operation: output.operation });
        } else this.#carryOut(host, core, output.id, output.operation);
    }
  }

  #carryOut(host: Host, core: IkeSa, id: number, operation: SaOperation): void {
    const result = host.store.apply(operation);
    if (operation.kind === 'inbound' || operation.kind === 'outbound') {
      zero(operation.sa.keys.encryption, operation.sa.keys.integrity);
    }
    core.handleCompleted(id, result, this.now);
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
