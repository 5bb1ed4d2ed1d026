import type { Socket as UdpSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { connect, type Socket } from 'node:net';
import { isSpecialAddress } from '../forward/special-ranges.ts';
import type { AssignedAddresses } from '../link/sa-store.ts';
import { SocksReply, type SocksTarget, socksReply } from '../socks/protocol.ts';
import { type Address, addressBytes, familyOf } from '../wire/address.ts';
import type { ClientEvent, FlowOrder } from './protocol.ts';
import { UdpAssociation } from './udp-association.ts';

/** Milliseconds in which a server has to answer. */
const PATIENCE = 30_000;

/** Asks the exit's name servers. @returns addresses of the families that the telescope has. @throws Error if there are none */
export type Resolve = (name: string) => Promise<readonly Address[]>;

/** A resolver that knows nothing but the exit's name servers. */
export function exitResolver({ ip4, ip6, dns }: AssignedAddresses): Resolve {
  if (dns.length === 0) return () => Promise.reject(new Error('the exit names no name servers'));
  const resolver = new Resolver({ timeout: 5_000, tries: 3 });
  resolver.setServers(dns.map((server) => (server.includes(':') ? `[${server}]` : server)));
  return async (name) => {
    const answers = await Promise.allSettled([
      ip4 === undefined ? [] : resolver.resolve4(name),
      ip6 === undefined ? [] : resolver.resolve6(name),
    ]);
    const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (addresses.length === 0) throw new Error('the name has no address');
    return addresses;
  };
}

/** The connections of SOCKS clients, which come from outside, carried on into this network namespace. */
export class Flows {
  readonly #resolve: Resolve;
  readonly #report: (event: ClientEvent) => void;
  readonly #udp = new Map<number, UdpSocket>();

  constructor(resolve: Resolve, report: (event: ClientEvent) => void) {
    this.#resolve = resolve;
    this.#report = report;
  }

  /** @param handle - what came with the order; absent if it was closed on the way */
  take(order: FlowOrder, handle: Socket | UdpSocket | undefined): void {
    this.#report({ event: 'flow-taken' });
    if (order.type === 'associate-socket') {
      if (handle !== undefined) this.#udp.set(order.id, handle as UdpSocket);
      return;
    }
    const { id } = order;
    const udp = this.#udp.get(id);
    this.#udp.delete(id);
    const socket = handle as Socket | undefined;
    const over = () => this.#report({ event: 'flow-closed', id });
    if (socket === undefined || socket.destroyed) {
      udp?.close();
      over();
      return;
    }
    // It may end what it sends and go on to read, from the beginning on.
    socket.allowHalfOpen = true;
    socket.on('error', () => socket.destroy()).once('close', over);
    if (order.type === 'connect') void this.#connect(socket, order);
    else if (udp === undefined) socket.destroy();
    else new UdpAssociation(socket, udp, this.#resolve).open(order);
  }

  async #connect(
    socket: Socket,
    { target, port, rest }: Extract<FlowOrder, { type: 'connect' }>,
  ): Promise<void> {
    try {
      const remote = await this.#reach({ host: target, port }, socket);
      remote.on('error', () => socket.destroy());
      socket.on('close', () => remote.destroy());
      socket.write(socksReply(SocksReply.SUCCEEDED));
      remote.write(rest);
      socket.pipe(remote).pipe(socket);
    } catch (error) {
      socket.end(socksReply(replyTo(error)), () => socket.destroy());
    }
  }

  async #reach({ host, port }: SocksTarget, client: Socket): Promise<Socket> {
    const addresses = typeof host === 'string' ? [host] : await this.#resolve(host.name);
    let failure: unknown = new Error('the name has private addresses only');
    for (const address of addresses.filter(isPublic)) {
      if (client.destroyed) throw new Error('the client has gone');
      try {
        return await connected(address, port, client);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }
}

/** Others are this namespace's own, or no exit lets anybody reach them. */
export function isPublic(address: Address): boolean {
  return !isSpecialAddress(addressBytes(address), 0, familyOf(address));
}

function connected(host: Address, port: number, client: Socket): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const remote = connect({ host, port, allowHalfOpen: true });
    const fail = (error: Error) => {
      remote.destroy();
      client.off('close', gone);
      reject(error);
    };
    const gone = () => fail(new Error('the client has gone'));
    const timer = setTimeout(
      () => fail(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
      PATIENCE,
    );
    client.once('close', gone);
    remote.once('error', fail).once('close', () => clearTimeout(timer));
    remote.once('connect', () => {
      clearTimeout(timer);
      remote.off('error', fail);
      client.off('close', gone);
      resolve(remote);
    });
  });
}

const REPLIES: Readonly<Record<string, SocksReply>> = {
  ECONNREFUSED: SocksReply.CONNECTION_REFUSED,
  ENETUNREACH: SocksReply.NETWORK_UNREACHABLE,
  EHOSTUNREACH: SocksReply.HOST_UNREACHABLE,
  ETIMEDOUT: SocksReply.TTL_EXPIRED,
};

function replyTo(error: unknown): SocksReply {
  return REPLIES[(error as NodeJS.ErrnoException).code ?? ''] ?? SocksReply.HOST_UNREACHABLE;
}
