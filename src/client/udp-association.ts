import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { parseSocksDatagram, SocksReply, socksDatagram, socksReply } from '../socks/protocol.ts';
import { type Address, familyOf } from '../wire/address.ts';
import { isPublic, type Resolve } from './flows.ts';

/** Names that are looked up once for an association, and datagrams that wait for them. */
const MOST_NAMES = 64;
const MOST_WAITING = 32;

/**
 * UDP of a SOCKS client (RFC 1928 section 7): lives as long as its connection. Datagrams are its own if they come from the port that it
 * has named; if it has named none, from the one that the first comes from.
 */
export class UdpAssociation {
  readonly #control: Socket;
  /** In the host's network. */
  readonly #outside: UdpSocket;
  /** In the telescope, by family. */
  readonly #inside = new Map<4 | 6, UdpSocket>();
  readonly #resolve: Resolve;
  readonly #names = new Map<string, Promise<Address | undefined>>();
  #waiting = 0;
  /** Where the client sends from, once it has. */
  #client: { readonly address: Address; readonly port: number } | undefined;

  constructor(control: Socket, outside: UdpSocket, resolve: Resolve) {
    this.#control = control;
    this.#outside = outside;
    this.#resolve = resolve;
  }

  /** Tells the client where to send its datagrams. @param port - it sends them from; 0: it has not said */
  open({ bound, port }: { bound: { host: Address; port: number }; port: number }): void {
    if (port !== 0) this.#client = { address: this.#control.remoteAddress!, port };
    this.#outside.on('message', (octets, from) => this.#leave(octets, from));
    this.#outside.on('error', () => this.#control.destroy());
    this.#control.once('close', () => {
      this.#outside.close();
      for (const socket of this.#inside.values()) socket.close();
    });
    this.#control.write(socksReply(SocksReply.SUCCEEDED, bound));
    if (this.#control.readableEnded) this.#control.destroy();
    this.#control.on('end', () => this.#control.destroy());
    this.#control.resume();
  }

  #leave(octets: Uint8Array, { address, port }: RemoteInfo): void {
    this.#client ??= address === this.#control.remoteAddress ? { address, port } : undefined;
    if (this.#client?.address !== address || this.#client.port !== port) return;
    const datagram = parseSocksDatagram(octets);
    if (datagram === undefined) return;
    const { host, payload } = datagram;
    if (typeof host === 'string') {
      this.#send(payload, host, datagram.port);
      return;
    }
    if (this.#waiting >= MOST_WAITING) return;
    this.#waiting++;
    void this.#lookUp(host.name).then((found) => {
      this.#waiting--;
      if (found !== undefined) this.#send(payload, found, datagram.port);
    });
  }

  #lookUp(name: string): Promise<Address | undefined> {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    if (this.#names.size >= MOST_NAMES) this.#names.delete(this.#names.keys().next().value!);
    const found = this.#resolve(name).then(
      ([address]) => address,
      () => {
        this.#names.delete(name);
        return undefined;
      },
    );
    this.#names.set(name, found);
    return found;
  }

  #send(payload: Uint8Array, host: Address, port: number): void {
    if (port === 0 || !isPublic(host) || this.#control.destroyed) return;
    this.#socketOf(familyOf(host)).send(payload, port, host, () => {}); // what cannot be sent is lost, as UDP is
  }

  #socketOf(family: 4 | 6): UdpSocket {
    const known = this.#inside.get(family);
    if (known !== undefined) return known;
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    socket.on('error', () => this.#control.destroy());
    socket.on('message', (payload, { address, port }) => {
      const client = this.#client!;
      this.#outside.send(
        socksDatagram({ host: address, port }, payload),
        client.port,
        client.address,
        () => {},
      );
    });
    this.#inside.set(family, socket);
    return socket;
  }
}
