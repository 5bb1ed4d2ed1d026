import type { ChildProcess } from 'node:child_process';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { SocksReply } from '../socks/protocol.ts';
import { refuse, type SocksArrival } from '../socks/server.ts';
import { type FlowOrder, parseEvent } from './protocol.ts';

/** Hands the connections of SOCKS clients to the process inside a telescope's namespace. */
export class FlowSender {
  readonly #child: ChildProcess;
  readonly #open = new Map<number, () => void>();
  #last = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message) => {
      const event = parseEvent(message);
      if (event.event === 'flow-closed') this.#over(event.id);
    });
    child.once('exit', () => {
      for (const id of [...this.#open.keys()]) this.#over(id);
    });
  }

  /** @returns resolves when the connection is over */
  async carry(arrival: SocksArrival): Promise<void> {
    const { request, socket, rest } = arrival;
    const id = ++this.#last;
    const over = new Promise<void>((resolve) => this.#open.set(id, resolve));
    try {
      if (request.command === 'connect') {
        const target = request.host;
        await this.#send({ type: 'connect', id, target, port: request.port, rest }, socket);
      } else {
        await this.#associate(id, socket);
      }
    } catch {
      this.#over(id);
      refuse(arrival, SocksReply.GENERAL_FAILURE);
    }
    return over;
  }

  /** A UDP socket in the host's network, next to the client's connection. */
  async #associate(id: number, socket: Socket): Promise<void> {
    const host = socket.localAddress!;
    const udp = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    try {
      udp.bind({ address: host, port: 0, exclusive: true });
      await once(udp, 'listening');
      const { port } = udp.address();
      await this.#send({ type: 'associate-socket', id }, udp);
      await this.#send({ type: 'associate', id, bound: { host, port } }, socket);
    } finally {
      udp.close();
    }
  }

  #send(order: FlowOrder, handle: Socket | UdpSocket): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.send(order, handle, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  #over(id: number): void {
    this.#open.get(id)?.();
    this.#open.delete(id);
  }
}
