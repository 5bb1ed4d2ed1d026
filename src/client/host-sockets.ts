import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { LinkError } from '../link/link.ts';
import { loadNative } from '../native/load.ts';
import { interfaceMtu, sourceAddress } from '../transport/host-address.ts';
import { type Address, anyAddress, familyOf } from '../wire/address.ts';
import type { ExtendOrder } from './protocol.ts';

/** How ESP reaches the entry relay: as IP protocol 50, or in UDP (RFC 3948). */
export type Encapsulation = 'esp' | 'udp';

/** The sockets of the first hop, open in the host's network, for a process in another one to inherit. */
export interface HostSockets {
  readonly host: ExtendOrder['host'];
  readonly ike: number;
  readonly encapsulated: number;
  readonly rawEsp?: number;
  /** For asking the host's routes. */
  readonly route: number;
  /** Why ESP goes in UDP although nobody asked for it. */
  readonly fallback?: string;
  /** Closes this process's copies. */
  close(): void;
}

/**
 * Opens the sockets towards an entry relay, from whichever address the host's routes choose, on ports of the kernel's
 * choice (so that several clients, and an IKE daemon, share a host).
 * @param encapsulation - undefined: plain ESP if this process may, or the kernel does it; else in UDP
 * @param kernel - whether ESP is the kernel's
 * @throws LinkError; CommandError without iproute2
 */
export async function openHostSockets(
  entry: Address,
  encapsulation: Encapsulation | undefined,
  kernel: boolean,
): Promise<HostSockets> {
  const address = await sourceAddress(entry);
  const any = anyAddress(familyOf(address));
  const mtu = await interfaceMtu(address);
  const opened: { close(): void }[] = [];
  const close = () => {
    for (const socket of opened.splice(0)) socket.close();
  };
  try {
    const raw = encapsulation === 'udp' || kernel ? undefined : openRawEsp(any);
    if (raw !== undefined && 'fd' in raw) opened.push(raw);
    if (encapsulation === 'esp' && raw !== undefined && 'unavailable' in raw) {
      throw new LinkError(raw.unavailable);
    }
    const ike = await openUdp(any);
    opened.push(ike);
    const encapsulated = await openUdp(any);
    opened.push(encapsulated);
    const route = await openUdp(any);
    opened.push(route);
    const rawEsp = raw !== undefined && 'fd' in raw ? raw.fd : undefined;
    return {
      host: {
        address,
        entry,
        mtu,
        ikePort: ike.port,
        encapsulatedPort: encapsulated.port,
        rawEsp: rawEsp !== undefined,
      },
      ike: ike.fd,
      encapsulated: encapsulated.fd,
      rawEsp,
      route: route.fd,
      fallback: raw !== undefined && 'unavailable' in raw ? raw.unavailable : undefined,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function openRawEsp(address: Address): { fd: number; close(): void } | { unavailable: string } {
  const loaded = loadNative();
  if ('unavailable' in loaded) return loaded;
  try {
    return loaded.native.openRawEsp(address);
  } catch (error) {
    return { unavailable: (error as Error).message };
  }
}

/** A UDP socket for a child process, with or without koffi. */
async function openUdp(address: Address): Promise<{ fd: number; port: number; close(): void }> {
  const ip6 = familyOf(address) === 6;
  const socket = createSocket({ type: ip6 ? 'udp6' : 'udp4', ipv6Only: ip6 });
  const close = () => void socket.close();
  try {
    socket.bind({ address, port: 0, exclusive: true });
    await once(socket, 'listening');
    return { fd: descriptorOf(socket), port: socket.address().port, close };
  } catch (cause) {
    close();
    throw new LinkError(`no UDP port of ${address}: ${(cause as Error).message}`, { cause });
  }
}

/** Node's documented way from a descriptor to a UDP socket is bind({ fd }); for the way back there is only its state. */
function descriptorOf(socket: Socket): number {
  for (const symbol of Object.getOwnPropertySymbols(socket)) {
    const state: unknown = Reflect.get(socket, symbol);
    const fd = (state as { readonly handle?: { readonly fd?: number } } | null)?.handle?.fd;
    if (fd !== undefined && fd >= 0) return fd;
  }
  throw new LinkError(
    `Node ${process.version} does not tell the descriptor of a UDP socket; use another version`,
  );
}
