import { dryRun } from '../../src/backend/dry-run.ts';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import { systemClock } from '../../src/endpoint/system-clock.ts';
import { ExchangeType, NotifyType } from '../../src/ike/constants.ts';
import { decodePlain, encodePlain } from '../../src/ike/message.ts';
import { notify, type Payload } from '../../src/ike/payload/index.ts';
import { findNotify } from '../../src/ike/payloads.ts';
import { defaultIkeProposals, encodeProposals } from '../../src/ike/proposal.ts';
import { addressText } from '../../src/wire/address.ts';
import {
  anonymousProfile,
  type Credentials,
  initiatorConfig,
  responderConfig,
  signature,
} from '../support/ike-configs.ts';
import { FloodLink, originOf, type Source } from './flood-link.ts';

/**
 * Where the requests of a flood come from: anywhere in IPv4, one /24, or out of the tunnel of one overlay peer, which are
 * addresses of others; or one /24 of the attacker's own, who returns cookies.
 */
export const FLOOD_KINDS = ['anywhere', 'network', 'overlay-peer', 'owned-network'] as const;

export type FloodKind = (typeof FLOOD_KINDS)[number];

/** How long a relay keeps an IKE SA whose IKE_AUTH does not come. */
const HALF_OPEN_TIMEOUT = 15_000;
const NO_SPI = new Uint8Array(8);

/** A responder that is flooded, and the honest clients that want to get through. */
export class FloodTarget {
  cookies = 0;
  keyExchanges = 0;
  keyExchangesBeforeCookie = 0;
  mostHalfOpen = 0;
  /** Seconds of CPU time that requests of the flood took. */
  cpu = 0;
  readonly #crypto: CryptoProvider;
  readonly #kind: FloodKind;
  readonly #cookieThreshold: number;
  readonly #relay: Credentials;
  readonly #link = new FloodLink();
  readonly #clients: Endpoint[] = [];
  #endpoint!: Endpoint;
  #computed = 0;
  #demanded: Uint8Array | undefined;

  static async open(
    crypto: CryptoProvider,
    kind: FloodKind,
    limits: { readonly maxHalfOpen: number; readonly cookieThreshold: number },
  ): Promise<FloodTarget> {
    const target = new FloodTarget(crypto, kind, limits.cookieThreshold);
    await target.#listen(limits);
    return target;
  }

  private constructor(crypto: CryptoProvider, kind: FloodKind, cookieThreshold: number) {
    this.#crypto = crypto;
    this.#kind = kind;
    this.#cookieThreshold = cookieThreshold;
    this.#relay = signature(crypto);
    this.#link.onAnswer((message) => {
      this.#demanded = cookieIn(message);
    });
  }

  get halfOpen(): number {
    return this.#endpoint.halfOpen;
  }

  async #listen(limits: { readonly maxHalfOpen: number; readonly cookieThreshold: number }): Promise<void> {
    const crypto: CryptoProvider = {
      ...this.#crypto,
      answerKeyExchange: (method, value) => {
        this.#computed++;
        return this.#crypto.answerKeyExchange(method, value);
      },
    };
    this.#endpoint = await Endpoint.open({
      link: this.#link,
      backend: dryRun().backend,
      crypto,
      clock: systemClock,
    });
    const config = responderConfig(crypto, anonymousProfile(this.#relay));
    this.#endpoint.listen({
      ...limits,
      config: { ...config, halfOpenTimeout: HALF_OPEN_TIMEOUT },
      onChild: () => {},
      onClosed: () => {},
    });
  }

  /** One request of the flood, and its repetition with a cookie by those who get to see the cookie. */
  attack(): void {
    const source = this.#source();
    const fields = {
      spiI: this.#crypto.random(8),
      spiR: NO_SPI,
      exchangeType: ExchangeType.IKE_SA_INIT,
      messageId: 0,
      flags: { initiator: true, response: false },
    };
    const payloads: Payload[] = [
      { kind: 'SA', proposals: encodeProposals(defaultIkeProposals, 1, new Uint8Array(0)) },
      { kind: 'KE', method: 31, data: this.#crypto.random(32) },
      { kind: 'NONCE', data: this.#crypto.random(32) },
    ];
    this.#deliver(encodePlain(fields, payloads), source, false);
    if (this.#kind !== 'owned-network' || this.#demanded === undefined) return;
    const cookie = notify(NotifyType.COOKIE, this.#demanded);
    this.#deliver(encodePlain(fields, [cookie, ...payloads]), source, true);
  }

  #deliver(request: Uint8Array, source: Source, hasCookie: boolean): void {
    const areCookiesDemanded = this.halfOpen >= this.#cookieThreshold;
    const before = this.#computed;
    this.#demanded = undefined;
    const { user, system } = process.cpuUsage();
    this.#link.deliver(request, originOf(source));
    const after = process.cpuUsage();
    this.cpu += (after.user - user + after.system - system) / 1e6;
    const computed = this.#computed - before;
    this.keyExchanges += computed;
    if (areCookiesDemanded && !hasCookie) this.keyExchangesBeforeCookie += computed;
    if (this.#demanded !== undefined) this.cookies++;
    this.mostHalfOpen = Math.max(this.mostHalfOpen, this.halfOpen);
  }

  #source(): Source {
    const [a, b, c, d] = this.#crypto.random(4);
    switch (this.#kind) {
      case 'anywhere':
        return { address: addressText(Uint8Array.of((a % 223) + 1, b, c, d)) };
      case 'network':
      case 'owned-network':
        return { address: `203.0.113.${d}` };
      case 'overlay-peer':
        return { address: `10.1.${c}.${d}`, overlayPeer: 'peer' };
    }
  }

  /** An honest client from somewhere else, or through the same overlay peer, connects. Returns the milliseconds it takes. */
  async connect(): Promise<number> {
    const number = this.#clients.length + 1;
    const source =
      this.#kind === 'overlay-peer'
        ? { address: `10.2.0.${number}`, overlayPeer: 'peer' }
        : { address: `198.51.100.${number}` };
    const link = this.#link.client(source);
    const client = await Endpoint.open({
      link,
      backend: dryRun().backend,
      crypto: this.#crypto,
      clock: systemClock,
    });
    this.#clients.push(client);
    const started = performance.now();
    await client.connect(initiatorConfig(this.#crypto, this.#relay), link.origin());
    return performance.now() - started;
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.#endpoint.close();
  }
}

function cookieIn(message: Uint8Array): Uint8Array | undefined {
  const decoded = decodePlain(message);
  return decoded.kind === 'ok' ? findNotify(decoded.payloads, NotifyType.COOKIE)?.data : undefined;
}
