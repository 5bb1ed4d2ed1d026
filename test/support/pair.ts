import { nodeProvider } from '../../src/crypto/node.ts';
import { zero } from '../../src/crypto/transforms.ts';
import type { InitiatorConfig, ResponderConfig } from '../../src/ike/config.ts';
import { NotifyType, nameOf } from '../../src/ike/constants.ts';
import { IkeLineage } from '../../src/ike/lineage.ts';
import type { IkeEvent } from '../../src/ike/output.ts';
import type { Payload } from '../../src/ike/payload/index.ts';
import { type PuzzlePolicy, ResponderGate } from '../../src/ike/responder-gate.ts';
import type { Millis } from '../../src/link/clock.ts';
import type { Origin } from '../../src/link/link.ts';
import { hex } from '../../src/wire/bytes.ts';
import { FakeStore } from './fake-store.ts';
import { mirror, TO_RESPONDER } from './ike-configs.ts';
import { RecordingCrypto } from './recording-crypto.ts';
import { seededRandom } from './seeded-random.ts';

export type Side = 'initiator' | 'responder';

/** A datagram as it was sent. */
export interface Sent {
  readonly from: Side;
  readonly message: Uint8Array;
  readonly to: Origin;
  readonly at: Millis;
}

/** When the copies of a datagram arrive, as delays; none: it is lost. */
export type Network = (sent: Sent, index: number) => readonly Millis[];

export const LATENCY: Millis = 20;
const PERFECT: Network = () => [LATENCY];

interface Task {
  readonly at: Millis;
  readonly order: number;
  readonly run: () => void;
}

/** One IKE SA with its backend, and what it said. */
export class End {
  readonly ike: IkeLineage;
  readonly store: FakeStore;
  readonly events: IkeEvent[] = [];
  armed: Millis | undefined;

  constructor(ike: IkeLineage, store: FakeStore) {
    this.ike = ike;
    this.store = store;
  }

  get eventTypes(): string[] {
    return this.events.map(({ type }) => type);
  }

  /** The error of `closed`; undefined if it closed in good order. @throws Error if it is not closed */
  get ending(): Error | undefined {
    const last = this.events.at(-1);
    if (last?.type !== 'closed') throw new Error(`not closed: ${this.eventTypes.join(', ')}`);
    return last.error;
  }

  event<T extends IkeEvent['type']>(type: T): Extract<IkeEvent, { readonly type: T }> {
    const found = this.events.find((event) => event.type === type);
    if (found === undefined) throw new Error(`no ${type} event: ${this.eventTypes.join(', ')}`);
    return found as Extract<IkeEvent, { readonly type: T }>;
  }

  /** The tunnel of the Child SA that came up. */
  get tunnelId(): string {
    return this.event('child-established').child.tunnel.id;
  }
}

export interface PairOptions {
  readonly initiator: InitiatorConfig;
  readonly responder: ResponderConfig;
  readonly network?: Network;
  readonly cookieThreshold?: number;
  readonly puzzles?: PuzzlePolicy;
  /** What the initiator's messages look like to the responder: the work of a NAT. */
  readonly translate?: (origin: Origin) => Origin;
  readonly to?: Origin;
}

/** An initiator and a responder with its gate, over a network and a clock that the test commands. */
export class Pair {
  readonly initiator: End;
  /** Every IKE SA that the responder has made. */
  readonly responders: End[] = [];
  readonly sent: Sent[] = [];
  network: Network;
  now: Millis = 0;
  /** Called whenever an end has been drained. */
  afterStep: (end: End) => void = () => {};
  /** How the responder's backend behaves. */
  readonly responderStore = new FakeStore(0x2000);
  readonly #options: PairOptions;
  readonly #gate: ResponderGate;
  readonly #queue: Task[] = [];
  readonly #firstOf = new Map<IkeLineage, string>();
  readonly #busyUntil = new Map<End, Millis>();
  #order = 0;

  constructor(options: PairOptions) {
    this.#options = options;
    this.network = options.network ?? PERFECT;
    const { crypto } = options.responder;
    this.#gate = new ResponderGate({
      crypto,
      cookieThreshold: options.cookieThreshold ?? 100,
      ...(options.puzzles && { puzzles: options.puzzles }),
    });
    const ike = IkeLineage.initiate(options.initiator, options.to ?? TO_RESPONDER, 0);
    this.initiator = new End(ike, new FakeStore(0x1000));
    this.#after(0, () => this.#drain(this.initiator));
  }

  /** The responder's latest IKE SA. */
  get responder(): End {
    const last = this.responders.at(-1);
    if (last === undefined) throw new Error('the responder has made no IKE SA');
    return last;
  }

  /** Calls a method of an end's IKE SA, and what follows from it. */
  call(end: End, action: (ike: IkeLineage, now: Millis) => void): void {
    action(end.ike, this.now);
    this.#drain(end);
  }

  /** Hands a datagram to the responder as if the network had brought it. */
  deliverToResponder(message: Uint8Array, origin: Origin = mirror(TO_RESPONDER)): void {
    const fromInitiator = (message[19] & 8) !== 0;
    const spi = hex(fromInitiator ? message.subarray(8, 16) : message.subarray(0, 8));
    const known = this.responders.find(({ ike }) => ike.localSpis.includes(spi));
    const repeated = this.responders.find(
      ({ ike }) =>
        !ike.closed && !ike.established && message[18] === 34 && this.#firstOf.get(ike) === hex(message),
    );
    const end = known ?? repeated;
    if (end !== undefined) {
      this.call(end, (ike, now) => ike.handleDatagram(message, origin, now));
      return;
    }
    const halfOpen = this.responders.filter(({ ike }) => !ike.closed && !ike.established).length;
    const admission = this.#gate.admit(message, origin, { halfOpen, share: 0 }, this.now);
    if (admission.kind === 'answer' || admission.kind === 'demand-cookie')
      this.#carry({ from: 'responder', message: admission.message, to: origin, at: this.now });
    if (admission.kind !== 'accept') return;
    const ike = IkeLineage.respond(this.#options.responder, message, origin, this.now);
    this.#firstOf.set(ike, hex(message));
    const made = new End(ike, this.responderStore);
    this.responders.push(made);
    this.#drain(made);
  }

  /** Lets time pass; by default until nothing more happens. */
  run(duration: Millis = 3_600_000): this {
    const until = this.now + duration;
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.at > until) break;
      this.#queue.splice(this.#queue.indexOf(next), 1);
      this.now = next.at;
      next.run();
    }
    if (this.#next() !== undefined) this.now = until;
    return this;
  }

  #next(): Task | undefined {
    return this.#queue.reduce<Task | undefined>((first, task) => {
      if (first === undefined || task.at < first.at) return task;
      return task.at === first.at && task.order < first.order ? task : first;
    }, undefined);
  }

  #after(delay: Millis, run: () => void): void {
    this.#queue.push({ at: this.now + delay, order: this.#order++, run });
  }

  #drain(end: End): void {
    const side: Side = end === this.initiator ? 'initiator' : 'responder';
    for (let output = end.ike.poll(); output !== undefined; output = end.ike.poll()) {
      switch (output.kind) {
        case 'event':
          end.events.push(output.event);
          break;
        case 'transmit':
          this.#carry({ from: side, message: output.message, to: output.to, at: this.now });
          break;
        case 'operation':
          this.#operate(end, output.id, output.operation);
      }
    }
    this.#arm(end);
    this.afterStep(end);
  }

  /** In order per end: the next operation starts when the one before it is done. */
  #operate(end: End, id: number, operation: Parameters<FakeStore['apply']>[0]): void {
    const free = Math.max(this.#busyUntil.get(end) ?? 0, this.now) + end.store.delay(operation);
    this.#busyUntil.set(end, free);
    this.#after(free - this.now, () => {
      const result = end.store.apply(operation);
      if (operation.kind === 'inbound' || operation.kind === 'outbound') {
        zero(operation.sa.keys.encryption, operation.sa.keys.integrity);
      }
      this.call(end, (ike, now) => ike.handleCompleted(id, result, now));
    });
  }

  #carry(sent: Sent): void {
    this.sent.push(sent);
    for (const delay of this.network(sent, this.sent.length - 1)) {
      this.#after(delay, () => {
        const seen = mirror(sent.to);
        if (sent.from === 'responder') {
          this.call(this.initiator, (ike, now) => ike.handleDatagram(sent.message, seen, now));
        } else this.deliverToResponder(sent.message, this.#options.translate?.(seen) ?? seen);
      });
    }
  }

  #arm(end: End): void {
    const at = end.ike.nextTimeout;
    if (at === undefined || at === end.armed) return;
    end.armed = at;
    this.#after(Math.max(0, at - this.now), () => {
      if (end.armed !== at) return;
      end.armed = undefined;
      if (end.ike.nextTimeout === at) this.call(end, (ike, now) => ike.handleTimeout(now));
    });
  }
}

/** A reproducible provider whose protected messages can be read. */
export function testCrypto(seed: number): RecordingCrypto {
  return new RecordingCrypto(nodeProvider(seededRandom(seed)));
}

/** A message's payloads by name; notifies as N(NAME). */
export function names(payloads: readonly Payload[]): string[] {
  return payloads.map((payload) =>
    payload.kind === 'NOTIFY' ? `N(${nameOf(NotifyType, payload.type)})` : payload.kind,
  );
}
