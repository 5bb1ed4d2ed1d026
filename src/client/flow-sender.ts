import type { ChildProcess } from 'node:child_process';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { SocksReply } from '../socks/protocol.ts';
import { refuse, type SocksArrival, unreadOctets } from '../socks/server.ts';
import { type FlowOrder, parseEvent } from './protocol.ts';

/** Hands the connections of SOCKS clients to the process inside a telescope's namespace. */
export class FlowSender {
  readonly #child: ChildProcess;
  readonly #open = new Map<number, () => void>();
  #last = 0;
  /** One socket at a time: those that wait in Node's own queue are lost if the process ends. */
  #turn: Promise<void> = Promise.resolve();
  #taken = () => {};
  readonly #gone: Promise<never>;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message) => {
      const event = parseEvent(message);
      if (event.event === 'flow-taken') this.#taken();
      if (event.event === 'flow-closed') this.#over(event.id);
    });
    this.#gone = once(child, 'exit').then(() => {
      for (const id of [...this.#open.keys()]) this.#over(id);
      throw new Error('the telescope has ended');
    });
    this.#gone.catch(() => {});
  }

  /** @returns resolves when the connection is over */
  carry(arrival: SocksArrival): Promise<void> {
    const id = ++this.#last;
    const over = new Promise<void>((resolve) => this.#open.set(id, resolve));
    this.#turn = this.#turn
      .then(() => this.#handOver(id, arrival))
      .catch(() => {
        this.#over(id);
        refuse(arrival, SocksReply.GENERAL_FAILURE);
      });
    return over;
  }

  async #handOver(id: number, { request, socket, rest }: SocksArrival): Promise<void> {
    const { port } = request;
    if (request.command === 'connect') {
      const octets = () => Buffer.concat([rest, unreadOctets(socket)]);
      await this.#send(() => ({ type: 'connect', id, target: request.host, port, rest: octets() }), socket);
      return;
    }
    // A UDP socket in the host's network, next to the client's connection.
    const host = socket.localAddress!;
    const udp = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    try {
      udp.bind({ address: host, port: 0, exclusive: true });
      await once(udp, 'listening');
      const bound = { host, port: udp.address().port };
      await this.#send(() => ({ type: 'associate-socket', id }), udp);
      unreadOctets(socket);
      await this.#send(() => ({ type: 'associate', id, port, bound }), socket);
    } finally {
      udp.close();
    }
  }

  /** @returns resolves when it has been taken @throws Error if the process has ended */
  #send(order: () => FlowOrder, handle: Socket | UdpSocket): Promise<void> {
    const taken = new Promise<void>((resolve, reject) => {
      this.#taken = resolve;
      this.#child.send(order(), handle, (error) => {
        if (error !== null) reject(error);
      });
    });
    return Promise.race([taken, this.#gone]);
  }

  #over(id: number): void {
    this.#open.get(id)?.();
    this.#open.delete(id);
  }
}
