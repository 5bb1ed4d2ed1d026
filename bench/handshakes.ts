import { performance } from 'node:perf_hooks';
import { AddressPool } from '../src/cp/address-pool.ts';
import type { CryptoProvider } from '../src/crypto/provider.ts';
import type { InitiatorConfig, Proposal, ResponderConfig } from '../src/ike/config.ts';
import { IdType } from '../src/ike/constants.ts';
import { IkeLineage } from '../src/ike/lineage.ts';
import { defaultChildProposals, defaultIkeProposals, relayIkeProposals } from '../src/ike/proposal.ts';
import type { Origin } from '../src/link/link.ts';
import { parsePrefix } from '../src/wire/address.ts';
import { anySelector } from '../src/wire/traffic-selector.ts';
import { TimedCrypto } from './timed-crypto.ts';

const RETRANSMISSION = { first: 500, factor: 2, cap: 4_000, tries: 30 };
const ORIGIN: Origin = {
  linkId: 'bench',
  address: '192.0.2.1',
  port: 500,
  localAddress: '192.0.2.2',
  localPort: 500,
  encapsulated: false,
};

/** Handshakes that are under way at once: what is measured is many calls long, since CPU time has a coarse clock. */
const BATCH = 50;

/** The responder's half of a handshake on one core. */
export interface HandshakeFigures {
  readonly perSecond: number;
  /** CPU time, of the process's other threads too: others' load on the machine does not count. */
  readonly microseconds: number;
  /** The part of it that is spent in the crypto provider, from 0 to 1. */
  readonly cryptoShare: number;
}

/**
 * NULL client, Ed25519 relay, X25519, AES-256-GCM, an address by CP.
 * @param count - a multiple of 100; as many are made before, to get the engine warm
 * @param proposals - the initiator's
 */
export function responderHandshakes(
  crypto: CryptoProvider,
  count: number,
  proposals: readonly Proposal[] = defaultIkeProposals,
): HandshakeFigures {
  const plain = new Handshakes(crypto, crypto, proposals);
  plain.run(count);
  const { cpu } = plain.run(count);
  const timed = new TimedCrypto(crypto);
  const inspected = new Handshakes(crypto, timed.provider, proposals);
  inspected.run(count / 2);
  timed.spent = 0;
  const { wall } = inspected.run(count / 2);
  return {
    perSecond: Math.round(count / cpu),
    microseconds: Math.round((cpu / count) * 1e6),
    cryptoShare: Math.round((timed.spent / 1000 / wall) * 100) / 100,
  };
}

class Handshakes {
  readonly #initiator: InitiatorConfig;
  readonly #responder: ResponderConfig;
  #cpu = 0;
  #wall = 0;

  constructor(initiatorCrypto: CryptoProvider, crypto: CryptoProvider, proposals: readonly Proposal[]) {
    const key = crypto.signatures.generate('ed25519');
    const pool = new AddressPool({
      ip4: parsePrefix('10.0.0.0/8'),
      random: (length) => crypto.random(length),
    });
    const common = {
      childProposals: defaultChildProposals,
      retransmission: RETRANSMISSION,
    };
    this.#initiator = {
      ...common,
      crypto: initiatorCrypto,
      ikeProposals: proposals,
      local: { kind: 'null' },
      remote: { kind: 'signature', publicKey: key.publicKey },
      child: {
        tsI: [anySelector(4)],
        tsR: [anySelector(4)],
        addresses: { ip4: true, ip4Dns: true, ip6: false, ip6Dns: false },
      },
      acceptChild: () => undefined,
      initialContact: false,
      natDetection: false,
    };
    const identity = { type: IdType.ID_KEY_ID, data: new Uint8Array(16) };
    this.#responder = {
      ...common,
      crypto,
      ikeProposals: relayIkeProposals,
      halfOpenTimeout: 15_000,
      profile: () => ({
        name: 'anonymous',
        local: { kind: 'signature', identity, key, sendKey: false },
        remote: { kind: 'null' },
        tsLocal: [anySelector(4)],
        tsRemote: [],
        assigner: pool,
      }),
    };
  }

  /** Seconds of `count` responder's halves, rounded up to whole batches. */
  run(count: number): { readonly cpu: number; readonly wall: number } {
    this.#cpu = 0;
    this.#wall = 0;
    for (let done = 0; done < count; done += BATCH) this.#batch();
    return { cpu: this.#cpu / 1e6, wall: this.#wall / 1e3 };
  }

  #batch(): void {
    const clients = Array.from({ length: BATCH }, () => IkeLineage.initiate(this.#initiator, ORIGIN, 0));
    const inits = clients.map((client) => drain(client)[0]);
    const relays = this.#measured(() =>
      inits.map((init) => {
        const ike = IkeLineage.respond(this.#responder, init, ORIGIN, 0);
        return { ike, answer: drain(ike)[0] };
      }),
    );
    let answers = relays.map(({ answer }) => answer);
    for (;;) {
      const requests = clients.map((client, i) => {
        client.handleDatagram(answers[i], ORIGIN, 0);
        return drain(client)[0];
      });
      if (requests[0] === undefined) break;
      answers = this.#measured(() =>
        relays.map(({ ike }, i) => {
          ike.handleDatagram(requests[i], ORIGIN, 0);
          return drain(ike)[0];
        }),
      );
    }
    clients.forEach((client, i) => {
      if (!client.established || !relays[i].ike.established)
        throw new Error('the handshake did not complete');
      for (const ike of [client, relays[i].ike]) {
        ike.abort(0);
        drain(ike);
      }
    });
  }

  #measured<T>(action: () => T): T {
    const wall = performance.now();
    const cpu = process.cpuUsage();
    const result = action();
    const { user, system } = process.cpuUsage(cpu);
    this.#cpu += user + system;
    this.#wall += performance.now() - wall;
    return result;
  }
}

let nextSpi = 256;

/** Drains an IKE SA whose backend does everything at once; returns the messages it sends. */
function drain(ike: IkeLineage): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let output = ike.poll(); output !== undefined; output = ike.poll()) {
    if (output.kind === 'transmit') messages.push(output.message);
    if (output.kind === 'operation') ike.handleCompleted(output.id, { ok: true, spi: nextSpi++ }, 0);
  }
  return messages;
}
