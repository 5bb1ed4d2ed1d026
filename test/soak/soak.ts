import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import { ExchangeType } from '../../src/ike/constants.ts';
import type { Clock, Millis } from '../../src/link/clock.ts';
import type { Link } from '../../src/link/link.ts';
import { userSpaceHops } from '../../src/telescope/backend.ts';
import { extend, type Hop, INNER_MTU, Telescope } from '../../src/telescope/telescope.ts';
import { openUdp, type TelescopeUdp } from '../../src/telescope/udp.ts';
import { hex } from '../../src/wire/bytes.ts';
import { IpProtocol, parseIpHeader } from '../../src/wire/ip.ts';
import { SaLedger, unpaired } from '../support/sa-ledger.ts';
import { seededRandom, seededUniform } from '../support/seeded-random.ts';
import type { Fault } from '../support/sim-network.ts';
import { DESTINATION, TelescopeWorld } from '../support/sim-telescope.ts';
import { SkewedClock } from '../support/skewed-clock.ts';
import { type Fate, losingIke } from './ike-loss.ts';
import { phaseDependence } from './phase.ts';

const HOUR: Millis = 3_600_000;
/** Of IKE messages, in each direction, at every layer and between relays; data packets are never lost. */
const IKE_LOSS = 0.05;
/** One way on an edge; data packets take up to `JITTER` longer, so that they overtake each other. */
const LATENCY: Millis = 5;
const JITTER: Millis = 20;
/** Clocks go wrong by up to this share, and begin up to a day apart. */
const SKEW = 0.001;
/** Between data packets: always, and for a while after each step of a rekey at any layer. */
const PACE: Millis = 1_000;
const FAST_PACE: Millis = 5;
const FAST_FOR: Millis = 1_000;
/** When late packets and replaced SAs are over. */
const AFTERMATH: Millis = 200_000;
/** See `phaseDependence`: one in a thousand independent pairs of layers exceeds it. */
const MOST_DEPENDENCE = 1.95;

export interface SoakReport {
  readonly hours: number;
  /** Data packets that went to the exit and back, and what became of the others. */
  readonly packets: { readonly sent: number; readonly received: number; readonly lost: readonly number[] };
  /** Packets that any tunnel or relay dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** Of each, the SAs that were replaced, and how many CREATE_CHILD_SA requests either side sent to that end. */
  readonly layers: readonly {
    readonly childRekeys: number;
    readonly ikeRekeys: number;
    readonly requests: { readonly client: number; readonly relay: number };
  }[];
  /** SAs of overlays that were installed since, counted at both ends. */
  readonly overlaySas: number;
  readonly ikeMessages: { readonly carried: number; readonly lost: number };
  /** SAs in all backends: at the beginning, at most, at the end, and after the telescope was closed. */
  readonly sas: {
    readonly first: number;
    readonly most: number;
    readonly last: number;
    readonly closed: number;
  };
  /** `phaseDependence` of the rekeys of two layers, from either side, and what it must not exceed. */
  readonly dependence: Readonly<Record<string, number>>;
  readonly mostDependence: number;
  readonly failures: readonly string[];
}

/** Hours of virtual time in the life of a telescope of three hops. Everything follows from the seed. */
export async function soak(hours: number, seed: number): Promise<SoakReport> {
  const trial = await SoakTrial.open(seed);
  return trial.run(hours);
}

/** A hop with what was seen of it. */
interface Layer {
  readonly hop: Hop;
  readonly ledger: SaLedger;
  readonly childRekeys: Millis[];
  readonly ikeRekeys: Millis[];
  /** CREATE_CHILD_SA requests, by their headers. */
  readonly requests: { readonly client: Set<string>; readonly relay: Set<string> };
}

class SoakTrial {
  readonly #world: TelescopeWorld;
  readonly #relays: ReadonlyMap<string, SaLedger>;
  readonly #uniform: () => number;
  readonly #seed: number;
  readonly #layers: Layer[] = [];
  readonly #outstanding = new Set<number>();
  readonly #ikeMessages = { carried: 0, lost: 0 };
  readonly #failures: string[] = [];
  #sent = 0;
  #received = 0;
  #overlayInstalls = 0;
  #mostSas = 0;
  #fastUntil: Millis = 0;
  /** As long as there is something to send. */
  #udp: TelescopeUdp | undefined;
  #cancelSending = () => {};

  private constructor(world: TelescopeWorld, relays: ReadonlyMap<string, SaLedger>, seed: number) {
    this.#world = world;
    this.#relays = relays;
    this.#seed = seed;
    this.#uniform = seededUniform(seed);
  }

  static async open(seed: number): Promise<SoakTrial> {
    const relays = new Map<string, SaLedger>();
    const world = TelescopeWorld.open({
      latency: LATENCY,
      relayOptions: (name, clock) => {
        const crypto = nodeProvider(seededRandom(seed * 1_000 + relays.size));
        const ledger = new SaLedger();
        relays.set(name, ledger);
        return {
          crypto,
          clock: skewed(clock, seed + relays.size),
          backend: ledger.over(userSpaceBackend(crypto)),
        };
      },
    });
    return new SoakTrial(await world, relays, seed);
  }

  async run(hours: number): Promise<SoakReport> {
    const { clock, exit, relays } = this.#world;
    relays.network.eavesdropping = false;
    exit.isRecording = false;
    for (const [a, b] of [
      ['s', 'a'],
      ['a', 'b'],
      ['b', 'c'],
    ])
      relays.network.setFault(a, b, this.#fault(a !== 's'));
    const telescope = await this.#build();
    const udp = openUdp(telescope, 4_000);
    udp.onMessage((message) => this.#receive(message));
    void telescope.closed.then((error) => {
      if (error !== undefined) this.#failures.push(`the telescope ended: ${error.message}`);
    });
    this.#watch();
    const first = this.#countSas();
    this.#udp = udp;
    this.#send();
    await clock.advance(hours * HOUR);
    this.#udp = undefined;
    this.#cancelSending();
    await clock.advance(AFTERMATH);
    const last = this.#judge(first);
    const drops = this.#drops();
    await clock.until(telescope.close());
    await clock.advance(AFTERMATH);
    const closed = this.#judgeClosed(first);
    const dependence = this.#dependence();
    return {
      hours,
      packets: { sent: this.#sent, received: this.#received, lost: [...this.#outstanding].slice(0, 100) },
      drops,
      layers: this.#layers.map(({ childRekeys, ikeRekeys, requests: { client, relay } }) => ({
        childRekeys: childRekeys.length,
        ikeRekeys: ikeRekeys.length,
        requests: { client: client.size, relay: relay.size },
      })),
      overlaySas: this.#overlayInstalls,
      ikeMessages: this.#ikeMessages,
      sas: { first, most: this.#mostSas, last, closed },
      dependence,
      mostDependence: MOST_DEPENDENCE,
      failures: this.#failures,
    };
  }

  async #build(): Promise<Telescope> {
    const clock = skewed(this.#world.clock, this.#seed);
    const crypto = nodeProvider(seededRandom(this.#seed));
    let under: Link = this.#world.client;
    for (const [index, relay] of this.#world.path.entries()) {
      const ledger = new SaLedger();
      const seen = { ikeRekeys: [], requests: { client: new Set<string>(), relay: new Set<string>() } };
      const options = { crypto, clock, backend: userSpaceHops(ledger.over(userSpaceBackend(crypto))) };
      const link = losingIke(under, this.#ikeFate(seen));
      const at = { address: relay.addresses.ip4!, first: index === 0 };
      const hop = await this.#world.clock.until(extend(link, relay, at, options));
      this.#layers.push({ hop, ledger, childRekeys: [], ...seen });
      under = hop.link;
    }
    const hops = this.#layers.map(({ hop }) => hop);
    return new Telescope(hops, INNER_MTU, clock, crypto.random);
  }

  /** Counts rekeys from now on, and sends faster while they happen. */
  #watch(): void {
    const { clock } = this.#world;
    for (const { ledger, childRekeys } of this.#layers) {
      ledger.onChange = ({ kind }) => {
        if (kind === 'inbound') childRekeys.push(clock.now());
        this.#hasten();
      };
    }
    const ofClients = new Set(this.#layers.map(({ hop }) => hop.assigned.ip4));
    for (const ledger of this.#relays.values()) {
      ledger.onChange = (operation) => {
        if (operation.kind === 'inbound') {
          const isClients = operation.sa.tunnel.remote.some((selector) =>
            ofClients.has([...selector.startAddress].join('.')),
          );
          if (!isClients) this.#overlayInstalls++;
        }
        this.#hasten();
      };
    }
  }

  #hasten(): void {
    const { clock } = this.#world;
    const isSlow = clock.now() >= this.#fastUntil;
    this.#fastUntil = clock.now() + FAST_FOR;
    this.#mostSas = Math.max(this.#mostSas, this.#countSas());
    if (isSlow) this.#sendAt(clock.now());
  }

  #sendAt(at: Millis): void {
    this.#cancelSending();
    if (this.#udp !== undefined) this.#cancelSending = this.#world.clock.at(at, () => this.#send());
  }

  #send(): void {
    const { clock } = this.#world;
    const message = new Uint8Array(4);
    new DataView(message.buffer).setUint32(0, this.#sent);
    this.#outstanding.add(this.#sent++);
    this.#udp!.send(message, { address: DESTINATION, port: 7 });
    this.#sendAt(clock.now() + (clock.now() < this.#fastUntil ? FAST_PACE : PACE));
  }

  #receive(message: Uint8Array): void {
    const number = new DataView(message.buffer, message.byteOffset).getUint32(0);
    if (this.#outstanding.delete(number)) this.#received++;
    else this.#failures.push(`packet ${number} came twice`);
  }

  /** IKE messages of a layer of the client's; a first message with other SPIs means that the IKE SA was replaced. */
  #ikeFate({ ikeRekeys, requests }: Pick<Layer, 'ikeRekeys' | 'requests'>): Fate {
    const seen = new Set<string>();
    return (message, direction) => {
      const [exchangeType, flags] = [message[18], message[19]];
      if (exchangeType !== ExchangeType.IKE_SA_INIT) {
        const spis = hex(message.subarray(0, 16));
        if (seen.size > 0 && !seen.has(spis)) ikeRekeys.push(this.#world.clock.now());
        seen.add(spis);
      }
      if (exchangeType === ExchangeType.CREATE_CHILD_SA) {
        this.#hasten();
        const isRequest = (flags & 0x20) === 0;
        if (isRequest) requests[direction === 'sent' ? 'client' : 'relay'].add(hex(message.subarray(0, 24)));
      }
      return this.#isLucky();
    };
  }

  #isLucky(): boolean {
    const isLost = this.#uniform() < IKE_LOSS;
    this.#ikeMessages[isLost ? 'lost' : 'carried']++;
    return !isLost;
  }

  /** Data is delayed only; IKE between relays is lost as well. */
  #fault(betweenRelays: boolean): Fault {
    return ({ bytes }) => {
      const isIke = parseIpHeader(bytes, 0, bytes.length)?.protocol === IpProtocol.UDP;
      if (isIke && betweenRelays && !this.#isLucky()) return [];
      return [Math.floor(this.#uniform() * JITTER)];
    };
  }

  #countSas(): number {
    const ledgers = [...this.#relays.values(), ...this.#layers.map(({ ledger }) => ledger)];
    return ledgers.reduce((sum, { inbound, outbound }) => sum + inbound.size + outbound.size, 0);
  }

  #judge(first: number): number {
    const last = this.#countSas();
    if (last !== first) this.#failures.push(`there are ${last} SAs in the end, and were ${first}`);
    const ledgers = [...this.#relays.values(), ...this.#layers.map(({ ledger }) => ledger)];
    const { inbound, outbound } = unpaired(ledgers);
    for (const sa of [...inbound, ...outbound]) this.#failures.push(`an SA is at one end only: ${sa}`);
    for (const ledger of ledgers)
      if (ledger.reserved.size > 0) this.#failures.push('an SPI is still reserved');
    for (const [name] of this.#relays) {
      const { clients, overlays, ikeSas } = this.#world.relays.relay(name).state();
      if (ikeSas !== clients.length + overlays.length)
        this.#failures.push(`relay ${name} has ${ikeSas} IKE SAs`);
    }
    if (this.#outstanding.size > 0) this.#failures.push(`${this.#outstanding.size} data packets were lost`);
    return last;
  }

  #judgeClosed(first: number): number {
    const closed = this.#countSas();
    const expected = first - 4 * this.#layers.length;
    if (closed !== expected)
      this.#failures.push(`${closed} SAs, not ${expected}, are left of the closed telescope`);
    return closed;
  }

  #dependence(): Record<string, number> {
    const times = this.#layers.map(({ childRekeys, ikeRekeys }) =>
      [...childRekeys, ...ikeRekeys].sort((a, b) => a - b),
    );
    const result: Record<string, number> = {};
    for (const [i, own] of times.entries()) {
      for (const [j, others] of times.entries()) {
        if (i === j) continue;
        const value = Math.round(phaseDependence(own, others) * 100) / 100;
        result[`${i + 1} to ${j + 1}`] = value;
        if (value > MOST_DEPENDENCE)
          this.#failures.push(`the rekeys of layers ${i + 1} and ${j + 1} depend on each other`);
      }
    }
    return result;
  }

  #drops(): Record<string, number> {
    const drops: Record<string, number> = {};
    const add = (counters: Readonly<Partial<Record<string, number>>>) => {
      for (const [name, count] of Object.entries(counters)) {
        if (!/^(packets|octets)(In|Out)$/.test(name)) drops[name] = (drops[name] ?? 0) + (count ?? 0);
      }
    };
    for (const { hop } of this.#layers) add(hop.tunnel.counters);
    for (const name of this.#relays.keys()) add(this.#world.relays.relay(name).state().drops);
    return drops;
  }
}

function skewed(clock: Clock, seed: number): SkewedClock {
  const uniform = seededUniform(seed + 77);
  return new SkewedClock(clock, uniform() * 24 * HOUR, 1 + (2 * uniform() - 1) * SKEW);
}
