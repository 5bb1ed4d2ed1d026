import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { ExchangeType } from '../../src/ike/constants.ts';
import { Reassembly } from '../../src/ike/fragmentation.ts';
import {
  type DecodedPlain,
  type DecodedProtected,
  decodePlain,
  decodeProtected,
} from '../../src/ike/message.ts';
import type { Origin } from '../../src/link/link.ts';
import { hex } from '../../src/wire/bytes.ts';
import type { Side } from '../support/pair.ts';
import { type Attack, Attacked, carryOut, type Input, type SealedInput } from './attack.ts';
import { forgedAnswer, mutateDatagram } from './datagram-mutations.ts';
import { Violation } from './laws.ts';
import { honestLibrary, type Library, type Utterance } from './library.ts';
import { type Material, mutatePayloads } from './payload-mutations.ts';
import { Random } from './random.ts';
import { minimal } from './reduction.ts';
import { hasRealKeyExchange, OTHER, type Rig, type Scenario, stateOf } from './rig.ts';
import { expectRoundTrip } from './round-trip.ts';
import { SETUP_NAMES } from './scenarios.ts';
import { Tally, type TallyReport } from './tally.ts';

/** An attack that did something that no attack may do. */
export interface Failure {
  readonly message: string;
  readonly stack: string;
  /** The least that was found to do it. */
  readonly attack: Attack;
}

export interface FuzzReport extends TallyReport {
  readonly seed: number;
  /** Datagrams that were mutated and handed over. */
  readonly executions: number;
  /** Pairs of IKE SAs that they were handed to. */
  readonly attacks: number;
  /** Of those, the ones with X25519; in the others something stands in for it. */
  readonly withX25519: number;
  /** IKE SAs that went on octet for octet like a twin that nobody attacked. */
  readonly twins: number;
  readonly failures: readonly Failure[];
}

/** Datagrams of strangers that one pair gets at most, and messages of a malicious peer. */
const MOST_DATAGRAMS = 80;
const MOST_MESSAGES = 24;
/** So many of them when it is closed. */
const MOST_AFTERWARDS = 5;
/** So many failures are enough to work on. */
const MOST_FAILURES = 20;

const ORIGINS: readonly Partial<Origin>[] = [
  { linkId: 'another' },
  { overlayPeer: 'B' },
  { address: '203.0.113.66' },
  { port: 61_000 },
  { encapsulated: true, port: 4500, localPort: 4500 },
];

/** Attacks pairs of IKE SAs with datagrams that are nearly right; everything follows from the seed. */
export class Fuzzer {
  readonly #seed: number;
  readonly #spoil: ((crypto: CryptoProvider) => CryptoProvider) | undefined;
  readonly #library: Library;
  readonly #tally = new Tally();
  readonly #failures: Failure[] = [];
  #executions = 0;
  #attacks = 0;
  #withX25519 = 0;
  #twins = 0;

  /** @param spoil - breaks the provider, to see what the fuzzer makes of it */
  constructor(seed: number, spoil?: (crypto: CryptoProvider) => CryptoProvider) {
    this.#seed = seed;
    this.#spoil = spoil;
    this.#library = honestLibrary();
  }

  get executions(): number {
    return this.#executions;
  }

  /** The attack that is under way, for whoever waits for it in vain. */
  get attack(): number {
    return this.#attacks;
  }

  /** Whether it has found so much that it should stop. */
  get isEnough(): boolean {
    return this.#failures.length >= MOST_FAILURES;
  }

  report(): FuzzReport {
    return {
      seed: this.#seed,
      executions: this.#executions,
      attacks: this.#attacks,
      withX25519: this.#withX25519,
      twins: this.#twins,
      ...this.#tally.report(),
      failures: this.#failures,
    };
  }

  /** One attack, of up to `most` datagrams. */
  attackOnce(most: number): void {
    const random = new Random(this.#seed, ++this.#attacks);
    const scenario = drawScenario(random);
    const holds = random.chance(0.8);
    const inputs: Input[] = [];
    if (hasRealKeyExchange(scenario.seed)) this.#withX25519++;
    try {
      const attacked = new Attacked(scenario, holds, this.#spoil);
      if (holds) this.#betray(random, attacked, inputs, Math.min(most, MOST_MESSAGES));
      else this.#bombard(random, attacked, inputs, Math.min(most, MOST_DATAGRAMS));
      if (isHarmless(attacked, inputs)) this.#compareWithTwin(attacked, scenario, inputs);
      attacked.finish();
    } catch (error) {
      this.#fail(error, { scenario, holds, inputs });
    }
  }

  /** Somebody on the way: everything but the keys. */
  #bombard(random: Random, attacked: Attacked, inputs: Input[], most: number): void {
    const { rig } = attacked;
    const to = random.pick(['initiator', 'responder', 'responder', 'gate'] as const);
    for (let count = 0, closed = 0; count < most && closed < MOST_AFTERWARDS; count++) {
      if (to !== 'gate' && rig.end(to)?.ike.closed) closed++;
      if (random.chance(0.05))
        this.#take(attacked, inputs, { kind: 'wait', duration: random.below(30) + 0.25 });
      const { bytes, mutations } = this.#datagram(random, rig, to);
      const from = random.chance(0.1) ? random.pick(ORIGINS) : undefined;
      const input: Input = { kind: 'datagram', to, bytes, ...(from !== undefined && { from }) };
      // A message that is due is the peer's, whoever brings it.
      if (rig.origin(bytes) === 'due') continue;
      this.#tally.state(to === 'gate' ? 'gate' : stateOf(rig, to));
      this.#tally.mutations(from === undefined ? mutations : [...mutations, 'another origin']);
      this.#take(attacked, inputs, input);
      this.#countDatagram(rig, to === 'initiator' ? 'responder' : 'initiator', bytes);
    }
  }

  /** The peer itself, or somebody who has its keys. */
  #betray(random: Random, attacked: Attacked, inputs: Input[], most: number): void {
    const { rig } = attacked;
    for (let count = 0; count < most; count++) {
      const [held] = rig.held;
      if (held !== undefined) {
        const input = random.chance(0.6) ? this.#distorted(random, attacked) : undefined;
        if (input !== undefined) {
          this.#takeSealed(random, attacked, inputs, input);
          this.#take(attacked, inputs, { kind: random.chance(0.3) ? 'pass' : 'drop' });
        } else {
          this.#take(attacked, inputs, { kind: random.chance(0.9) ? 'pass' : 'drop' });
        }
        continue;
      }
      const input = random.chance(0.6) ? this.#invented(random, attacked) : undefined;
      if (input !== undefined) this.#takeSealed(random, attacked, inputs, input);
      else this.#take(attacked, inputs, { kind: 'wait', duration: random.below(100) + 0.25 });
      if (rig.pair.initiator.ike.closed && random.chance(0.3)) return;
    }
  }

  #datagram(
    random: Random,
    rig: Rig,
    to: Side | 'gate',
  ): { readonly bytes: Uint8Array; readonly mutations: readonly string[] } {
    const { datagrams } = this.#library;
    const { sent } = rig.pair;
    const request = sent.findLast(({ from, message }) => from === to && (message[19] & 0x20) === 0);
    if (request !== undefined && random.chance(0.04))
      return { bytes: forgedAnswer(random, request.message), mutations: ['a forged answer'] };
    // Mostly what has just been said.
    const recent = random.chance(0.4) ? sent.slice(-2) : sent;
    const base =
      random.chance(0.95) && recent.length > 0 ? random.pick(recent).message : random.pick(datagrams);
    if (random.chance(0.05)) return { bytes: base, mutations: ['replay'] };
    return mutateDatagram(random, base, random.chance(0.5) ? datagrams : sent.map(({ message }) => message));
  }

  /** The message that is held, but not as the peer meant it. */
  #distorted(random: Random, { rig }: Attacked): SealedInput | undefined {
    const { from, message } = rig.held[0];
    const payloads = message[18] === ExchangeType.IKE_SA_INIT ? undefined : rig.read(message);
    const stream = rig.streams.findIndex(({ spiI }) => spiI.every((octet, i) => octet === message[i]));
    if (payloads === undefined || stream < 0) return undefined;
    return {
      kind: 'sealed',
      to: OTHER[from],
      stream,
      exchangeType: message[18],
      response: (message[19] & 0x20) !== 0,
      offset: 0,
      plaintext: mutatePayloads(random, payloads, this.#material(rig)),
    };
  }

  /** Something that the peer might say, but not now. */
  #invented(random: Random, { rig }: Attacked): SealedInput | undefined {
    if (rig.streams.length === 0) return undefined;
    const stream = random.chance(0.8) ? rig.streams.length - 1 : random.below(rig.streams.length);
    const to: Side = random.pick(['initiator', 'responder']);
    const { utterances } = this.#library;
    const utterance: Utterance = random.pick(utterances);
    const { payloads, response } = utterance;
    return {
      kind: 'sealed',
      to,
      stream,
      exchangeType: random.chance(0.9) ? utterance.exchangeType : random.below(256),
      response,
      offset: random.chance(0.85) ? 0 : random.pick([-2, -1, 1, 2, 1_000]),
      plaintext: mutatePayloads(random, payloads, this.#material(rig)),
    };
  }

  #material({ pair }: Rig): Material {
    const spis = [pair.initiator.store, pair.responderStore].flatMap(({ inbound, outbound, reserved }) => [
      ...inbound.keys(),
      ...outbound.keys(),
      ...reserved,
    ]);
    return { spis: spis.map(encodeSpi), payloads: this.#library.payloads };
  }

  #takeSealed(random: Random, attacked: Attacked, inputs: Input[], input: SealedInput): void {
    const { rig } = attacked;
    const stream = rig.streams[input.stream];
    const protector = stream && rig.protector(stream, OTHER[input.to]);
    for (const part of random.chance(0.12) ? fragmented(random, input) : [input]) {
      const message = attacked.seal(part);
      if (message === undefined || protector === undefined) {
        this.#take(attacked, inputs, { kind: 'wait', duration: 10.25 });
        return;
      }
      this.#tally.state(stateOf(rig, part.to));
      this.#tally.mutations([part.plaintext.fragment === undefined ? 'sealed' : 'sealed fragment']);
      this.#tally.exchange(part.exchangeType, part.response);
      this.#take(attacked, inputs, part);
      this.#count(decodeProtected(message, protector, new Reassembly()));
    }
  }

  #countDatagram(rig: Rig, from: Side, bytes: Uint8Array): void {
    if (bytes.length >= 28) this.#tally.exchange(bytes[18], (bytes[19] & 0x20) !== 0);
    const stream = rig.streams.find(({ spiI }) => spiI.every((octet, i) => octet === bytes[i]));
    const protector = stream && rig.protector(stream, from);
    const isPlain = protector === undefined || bytes[18] === ExchangeType.IKE_SA_INIT;
    this.#count(isPlain ? decodePlain(bytes) : decodeProtected(bytes, protector, new Reassembly()));
  }

  #count(decoded: DecodedPlain | DecodedProtected): void {
    this.#tally.decoded(decoded);
    expectRoundTrip(decoded);
  }

  #take(attacked: Attacked, inputs: Input[], input: Input): void {
    inputs.push(input);
    if (input.kind === 'datagram' || input.kind === 'sealed') this.#executions++;
    const work = attacked.take(input);
    if (work !== undefined) this.#tally.work(work);
  }

  /** What was attacked in vain must go on as if nothing had been: the same octets at the same times. @throws Violation */
  #compareWithTwin(attacked: Attacked, scenario: Scenario, inputs: readonly Input[]): void {
    const twin = new Attacked(scenario, false, this.#spoil);
    for (const input of inputs) if (input.kind === 'wait') twin.take(input);
    for (const { rig } of [attacked, twin]) rig.advance(3_000);
    const [actual, expected] = [attacked, twin].map(({ rig }) => transcript(rig));
    this.#twins++;
    if (actual !== expected) {
      const at = [...actual].findIndex((character, i) => character !== expected[i]);
      const difference = `${actual.slice(at - 40, at + 80)} where its twin has ${expected.slice(at - 40, at + 80)}`;
      throw new Violation(`datagrams of strangers changed what an IKE SA did later: ${difference}`);
    }
  }

  #fail(thrown: unknown, attack: Attack): void {
    const { message, stack = '' } = thrown instanceof Error ? thrown : new Error(String(thrown));
    const fails = (reduced: Attack) => carryOut(reduced, this.#spoil)?.message === message;
    this.#failures.push({ message, stack, attack: minimal(attack, fails) });
  }
}

/** Whether the target was established all the time, so that strangers cannot have changed anything at all. */
function isHarmless({ rig }: Attacked, inputs: readonly Input[]): boolean {
  if (rig.holding) return false;
  const [first] = inputs.filter((input) => input.kind === 'datagram');
  if (first === undefined || first.to === 'gate') return false;
  return rig.established.has(first.to);
}

/** The message in fragments, in any order and not always all of them (RFC 7383 2.6). */
function fragmented(random: Random, input: SealedInput): SealedInput[] {
  const { first, bytes } = input.plaintext;
  const total = 2 + random.below(3);
  const size = Math.ceil(bytes.length / total);
  const parts = Array.from({ length: total }, (_, index) => ({
    first: index === 0 ? first : 0,
    bytes: bytes.slice(index * size, (index + 1) * size),
    fragment: { number: index + 1, total: random.chance(0.05) ? random.below(6) : total },
  }));
  if (random.chance(0.5)) parts.push(...parts.splice(0, random.below(total)));
  if (random.chance(0.3)) parts.splice(random.below(total), 1, random.pick(parts));
  return parts.map((plaintext) => ({ ...input, plaintext }));
}

/** Everything that both ends did, repetitions left out. */
function transcript({ pair }: Rig): string {
  const messages = new Map<string, string>();
  for (const { from, message, at } of pair.sent) {
    const bytes = hex(message);
    if (!messages.has(bytes)) messages.set(bytes, `${at} ${from} ${bytes}`);
  }
  const ends = [pair.initiator, ...pair.responders].map(({ ike, eventTypes }) => [
    ike.nextTimeout,
    ...eventTypes,
  ]);
  return [...messages.values(), ...ends.map(String)].join('\n');
}

function drawScenario(random: Random): Scenario {
  return {
    setup: random.pick(SETUP_NAMES),
    seed: random.below(1_000_000),
    // Odd quarters: no honest message arrives at the same moment as a datagram of the attacker's.
    cut: (random.chance(0.4) ? random.below(110) : 90 + random.below(500)) + 0.5,
    ...(random.chance(0.3) && { silence: 2_500 }),
  };
}

function encodeSpi(spi: number): Uint8Array {
  return Uint8Array.of(spi >>> 24, spi >>> 16, spi >>> 8, spi);
}
