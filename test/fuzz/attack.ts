import type { CryptoProvider } from '../../src/crypto/provider.ts';
import type { Millis } from '../../src/link/clock.ts';
import type { Origin } from '../../src/link/link.ts';
import { mirror, TO_RESPONDER } from '../support/ike-configs.ts';
import type { Side } from '../support/pair.ts';
import { expectNothingLeft, judge, lookBefore } from './laws.ts';
import type { Work } from './metered-crypto.ts';
import { OTHER, Rig, type Scenario, type Stream } from './rig.ts';
import { type Plaintext, sealPlaintext } from './sealing.ts';

/** What an attacker does next. Everything needed to do it again, to the same scenario. */
export type Input =
  /** Lets time pass. */
  | { readonly kind: 'wait'; readonly duration: Millis }
  /** Lets the oldest message that is held go on, or loses it. */
  | { readonly kind: 'pass' }
  | { readonly kind: 'drop' }
  /** A datagram that is handed to an end's IKE SA, or to the responder's front. */
  | {
      readonly kind: 'datagram';
      readonly to: Side | 'gate';
      readonly bytes: Uint8Array;
      readonly from?: Partial<Origin>;
    }
  /** A message of the peer's that it should not send, with the right keys. */
  | {
      readonly kind: 'sealed';
      readonly to: Side;
      /** Of the IKE SAs that there have been. */
      readonly stream: number;
      readonly exchangeType: number;
      readonly response: boolean;
      /** From the message ID that is due. */
      readonly offset: number;
      readonly plaintext: Plaintext;
    };

export type SealedInput = Extract<Input, { readonly kind: 'sealed' }>;

/** One attack from its beginning to its end. */
export interface Attack {
  readonly scenario: Scenario;
  /** Whether the attacker takes messages off the way. */
  readonly holds: boolean;
  readonly inputs: readonly Input[];
}

/** Where a side's messages seem to come from. */
function seenBy(to: Side): Origin {
  return to === 'responder' ? mirror(TO_RESPONDER) : TO_RESPONDER;
}

/** A scenario at the moment of the attack, and what is done to it. */
export class Attacked {
  readonly rig: Rig;
  #iv = 0;

  constructor(scenario: Scenario, holds: boolean, spoil?: (crypto: CryptoProvider) => CryptoProvider) {
    this.rig = new Rig(scenario, spoil);
    this.rig.holding = holds;
  }

  /** @returns what it cost; undefined if it was no datagram @throws Violation, or what was thrown */
  take(input: Input): Work | undefined {
    const { rig } = this;
    switch (input.kind) {
      case 'wait':
        rig.advance(input.duration);
        return undefined;
      case 'drop':
        rig.held.shift();
        return undefined;
      case 'pass': {
        const sent = rig.held.shift();
        if (sent === undefined) return undefined;
        rig.arrive(sent.message);
        return this.#hand(
          sent.from === 'initiator' ? 'gate' : 'initiator',
          sent.message,
          mirror(sent.to),
          true,
        );
      }
      case 'datagram': {
        const { to, bytes, from } = input;
        return this.#hand(to, bytes, { ...this.#origin(to), ...from }, this.#isPeers(input));
      }
      case 'sealed': {
        const message = this.seal(input);
        return message && this.#hand(input.to, message, this.#origin(input.to), true);
      }
    }
  }

  /** The datagram of a sealed input; undefined while the attacker does not have the keys. */
  seal(input: SealedInput): Uint8Array | undefined {
    const { to, exchangeType, response, plaintext, offset } = input;
    const stream = this.rig.streams[input.stream];
    const protector = stream && this.rig.protector(stream, OTHER[to]);
    const due = stream && this.due(stream, to, response);
    if (protector === undefined || due === undefined) return undefined;
    const iv = new Uint8Array(16);
    new DataView(iv.buffer).setUint32(0, 0xf000_0000 + this.#iv++);
    const fields = {
      spiI: stream.spiI,
      spiR: stream.spiR,
      exchangeType,
      flags: { initiator: stream.initiator === OTHER[to], response },
      messageId: (due + offset) >>> 0,
    };
    return sealPlaintext(fields, plaintext, protector, iv);
  }

  /** The message ID of the next request that a side expects, or of the response to the one that it has sent. */
  due(stream: Stream, to: Side, response: boolean): number | undefined {
    const last = this.rig.last(stream, to, !response);
    if (last === undefined) return response ? undefined : 0;
    const id = new DataView(last.buffer, last.byteOffset).getUint32(20);
    return response ? id : id + 1;
  }

  /** Ends everything, as both ends would. @throws Violation if something is left */
  finish(): void {
    const { rig } = this;
    const { pair } = rig;
    rig.holding = false;
    rig.held.length = 0;
    for (const end of [pair.initiator, ...pair.responders]) pair.call(end, (ike, now) => ike.close(now));
    pair.run(200_000);
    expectNothingLeft(rig);
  }

  #origin(to: Side | 'gate'): Origin {
    const side = to === 'gate' ? 'responder' : to;
    return this.rig.end(side)?.ike.origin ?? seenBy(side);
  }

  /** A message of the peer's that has not arrived yet, from a place that may be the peer's. */
  #isPeers({ bytes, from }: Extract<Input, { readonly kind: 'datagram' }>): boolean {
    const isStrange = from?.linkId !== undefined || from?.overlayPeer !== undefined;
    return this.rig.origin(bytes) === 'due' && !isStrange;
  }

  #hand(to: Side | 'gate', bytes: Uint8Array, origin: Origin, proved: boolean): Work {
    const { rig } = this;
    const { pair } = rig;
    pair.run(0);
    const before = lookBefore(rig);
    const end = to === 'gate' ? undefined : rig.end(to);
    if (end === undefined) pair.deliverToResponder(bytes, origin);
    else pair.call(end, (ike, now) => ike.handleDatagram(bytes, origin, now));
    pair.run(0);
    return judge(rig, before, proved, end);
  }
}

/** Carries out an attack. @returns what went wrong; undefined if nothing did */
export function carryOut(
  { scenario, holds, inputs }: Attack,
  spoil?: (crypto: CryptoProvider) => CryptoProvider,
): Error | undefined {
  try {
    const attacked = new Attacked(scenario, holds, spoil);
    for (const input of inputs) attacked.take(input);
    attacked.finish();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
