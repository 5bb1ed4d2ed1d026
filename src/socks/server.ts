import { once } from 'node:events';
import { createServer, isIP, type Server, type Socket } from 'node:net';
import type { Address } from '../wire/address.ts';
import { SocksError, SocksNegotiation, type SocksReply, type SocksRequest, socksReply } from './protocol.ts';

/** What a client asks for, and its connection: paused, nothing answered yet. */
export interface SocksArrival {
  readonly request: SocksRequest;
  readonly socket: Socket;
  /** What it has already sent to its target. */
  readonly rest: Uint8Array;
}

/** A client has so many milliseconds to say what it wants. */
const PATIENCE = 10_000;
/** So many may be at it. */
const MOST = 256;

/** Listens for SOCKS clients of this host, and hands on what they ask for. */
export class SocksServer {
  readonly #server: Server;
  readonly #handler: (arrival: SocksArrival) => void;
  readonly #negotiating = new Set<Socket>();

  private constructor(handler: (arrival: SocksArrival) => void) {
    this.#handler = handler;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  /**
   * @param host - a loopback address: whoever reaches it can use it
   * @throws RangeError for another, Error of the system if it cannot be bound
   */
  static async listen(
    host: Address,
    port: number,
    handler: (arrival: SocksArrival) => void,
  ): Promise<SocksServer> {
    if (isIP(host) === 0 || !(host.startsWith('127.') || host === '::1')) {
      throw new RangeError(
        `${host} is not a loopback address: others could use your telescopes; listen on 127.0.0.1`,
      );
    }
    const server = new SocksServer(handler);
    server.#server.listen(port, host);
    await once(server.#server, 'listening');
    return server;
  }

  get port(): number {
    return (this.#server.address() as { readonly port: number }).port;
  }

  /** Takes no more, and ends those that have not said what they want; the others are their handler's. */
  close(): void {
    this.#server.close();
    for (const socket of this.#negotiating) socket.destroy();
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#negotiating.size >= MOST) {
      socket.destroy();
      return;
    }
    this.#negotiating.add(socket);
    const negotiation = new SocksNegotiation();
    const timer = setTimeout(() => socket.destroy(), PATIENCE);
    const leave = () => {
      clearTimeout(timer);
      this.#negotiating.delete(socket);
      socket.off('data', take).off('close', leave).off('end', end);
    };
    const end = () => socket.destroy();
    const take = (octets: Uint8Array) => {
      try {
        let step = negotiation.step(octets);
        while (step.kind === 'answer') {
          socket.write(step.octets);
          step = negotiation.step();
        }
        if (step.kind === 'incomplete') return;
        leave();
        socket.pause();
        this.#handler({ request: step.request, socket, rest: step.rest });
      } catch (error) {
        if (!(error instanceof SocksError)) throw error;
        socket.end(error.answer, () => socket.destroy());
      }
    };
    socket.on('data', take).on('close', leave).on('end', end);
  }
}

/** Answers that what was asked for is not to be had, and ends the connection. */
export function refuse({ socket }: Pick<SocksArrival, 'socket'>, reply: SocksReply): void {
  socket.end(socksReply(reply), () => socket.destroy());
}

/**
 * What a client has sent that nobody has read, in the moment before its connection is handed to another process: nothing more is
 * read here. Node goes on to read a socket that is paused, or handed over, and there is no other way to tell it not to.
 */
export function unreadOctets(socket: Socket): Uint8Array {
  const octets: Uint8Array | null = socket.read();
  const handle: unknown = Reflect.get(socket, '_handle');
  (handle as { readStop(): void } | null)?.readStop();
  return octets ?? new Uint8Array(0);
}
