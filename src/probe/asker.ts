import type { Clock, Millis } from '../link/clock.ts';
import { packetBytes } from '../link/packet.ts';
import type { Tunnel } from '../link/sa-store.ts';
import type { Address } from '../wire/address.ts';
import { type HeaderFields, type Question, questionPacket, type Reply, replyTo } from './inner-packets.ts';

const PATIENCE: Millis = 1_000;
const TRIES = 3;

/** Asks hosts behind a tunnel, one question at a time. It takes all the packets of the tunnel. */
export class Asker {
  readonly #tunnel: Tunnel;
  readonly #source: Address;
  readonly #clock: Clock;
  #number = 0;
  #onPacket: (bytes: Uint8Array) => void = () => {};

  /** @param source - the address that was assigned */
  constructor(tunnel: Tunnel, source: Address, clock: Clock) {
    this.#tunnel = tunnel;
    this.#source = source;
    this.#clock = clock;
    tunnel.onPackets((packets) => {
      for (const packet of packets) this.#onPacket(packetBytes(packet));
    });
  }

  /** The first reply, to any of some tries; undefined if there is none. */
  async ask(kind: Question, destination: Address, fields?: HeaderFields): Promise<Reply | undefined> {
    for (let tries = 0; tries < TRIES; tries++) {
      const number = ++this.#number;
      const reply = await new Promise<Reply | undefined>((resolve) => {
        const cancel = this.#clock.at(this.#clock.now() + PATIENCE, () => resolve(undefined));
        this.#onPacket = (bytes) => {
          const found = replyTo(kind, destination, number, bytes);
          if (found === undefined) return;
          cancel();
          resolve(found);
        };
        this.#tunnel.send([questionPacket(kind, { source: this.#source, destination }, number, fields)]);
      });
      if (reply !== undefined) return reply;
    }
    return undefined;
  }
}
