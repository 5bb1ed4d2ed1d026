import type { RemoteInfo } from 'node:dgram';
import { DgramAsPromised, type SocketAsPromised } from 'dgram-as-promised';
import { LinkError } from '../link/link.ts';
import { type Address, familyOf } from '../wire/address.ts';

/** Octets of receive buffer asked for: an IKE message in fragments, or a burst of ESP packets, comes at once. */
const RECEIVE_BUFFER = 4 << 20;

/** Where a UDP socket is bound: an address of ours and a port (0: the kernel's choice), or an inherited socket. */
export interface UdpBinding {
  readonly address: Address;
  readonly port: number;
  readonly fd?: number;
}

/** A bound UDP socket: datagrams by callback, since dgram-as-promised's own `recv` loses those between two calls. */
export interface UdpSocket {
  readonly port: number;
  /** Resolves when the kernel has taken the datagram. Rejects with the system error if it did not. */
  send(datagram: Uint8Array, address: Address, port: number): Promise<unknown>;
  close(): Promise<void>;
}

/** @throws LinkError naming the port and the remedy */
export async function openUdpSocket(
  binding: UdpBinding,
  onDatagram: (datagram: Uint8Array, source: RemoteInfo) => void,
): Promise<UdpSocket> {
  const family = familyOf(binding.address);
  const socket = DgramAsPromised.createSocket(
    {
      type: family === 4 ? 'udp4' : 'udp6',
      ipv6Only: family === 6,
      // Destinations are addresses, never names. Answering at once also hands the datagram to the kernel within `send`.
      lookup: (address, _options, callback) => callback(null, address, family),
    },
    onDatagram,
  );
  try {
    const { address, port, fd } = binding;
    const bound = await socket.bind(fd === undefined ? { address, port, exclusive: true } : { fd });
    enlargeReceiveBuffer(socket);
    return {
      port: bound.port,
      send: (datagram, to, toPort) => socket.send(datagram, toPort, to),
      close: () => socket.close(),
    };
  } catch (error) {
    await socket.close();
    throw bindError(binding, error as NodeJS.ErrnoException);
  }
}

function enlargeReceiveBuffer(socket: SocketAsPromised): void {
  try {
    socket.setRecvBufferSize(RECEIVE_BUFFER); // the kernel gives what net.core.rmem_max allows
  } catch {}
}

function bindError({ address, port, fd }: UdpBinding, error: NodeJS.ErrnoException): LinkError {
  const what = fd === undefined ? `UDP port ${port} of ${address}` : `inherited UDP socket (fd ${fd})`;
  const remedies: Readonly<Record<string, string>> = {
    EADDRINUSE: 'is in use: stop the other IKE daemon, or choose another port',
    EACCES:
      'needs CAP_NET_BIND_SERVICE: run as root, choose a port over 1023, or lower net.ipv4.ip_unprivileged_port_start',
    EADDRNOTAVAIL: 'cannot be opened: this host does not have that address',
  };
  const remedy = remedies[error.code ?? ''] ?? `cannot be opened: ${error.message}`;
  return new LinkError(`${what} ${remedy}`, { cause: error });
}
