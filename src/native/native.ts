import type { Packet } from '../link/packet.ts';
import type { Address, Family } from '../wire/address.ts';

/**
 * The operating system calls that Node does not offer, behind an interface without FFI in it. One implementation uses
 * koffi (the only folder that may); without koffi `loadNative` gives the reason and callers fall back to an inherited
 * TUN fd and to ESP in UDP.
 */
export interface Native {
  /** Opens a TUN device (IFF_NO_PI) in the calling namespace; without a name the kernel picks one. @throws NativeError */
  openTun(name?: string): TunDevice;
  /** Opens a raw socket for IP protocol 50, bound to `local`; outer DF set, TTL 64, TOS 0. @throws NativeError */
  openRawEsp(local: Address): RawEspSocket;
  /** A raw ESP socket that another process has opened and this one inherited as `fd`; it is owned from now on. */
  adoptRawEsp(fd: number, family: Family): RawEspSocket;
  /**
   * A UDP socket bound to `local` (port 0: the kernel's choice), as an fd for dgram's bind({fd}). @throws NativeError
   * @param options.foreign - `local` (IPv4) need not be an address of this host
   */
  openUdp(local: Address, port: number, options?: { readonly foreign?: boolean }): number;
  /** Gives what a UDP socket sends the constant IP header that raw ESP sockets have. @throws NativeError */
  setConstantHeader(fd: number, family: Family): void;
  /** From now on the kernel's IPsec takes the ESP that a UDP socket receives (RFC 3948), and keepalives. @throws NativeError */
  takeEspInUdp(fd: number): void;
  /** Captures every frame, in both directions, of an interface (AF_PACKET). @throws NativeError */
  openCapture(interfaceName: string): CaptureSocket;
  /** A datagram ICMP (or ICMPv6) socket for echo requests, as an fd for dgram; needs ping_group_range. @throws NativeError */
  openPingSocket(family: Family): number;
  /** A socket to the kernel's IPsec, for the events of `groups` (a bit set; netlink(7)). @throws NativeError */
  openXfrmNetlink(groups: number): NetlinkSocket;
  /** A socket to the kernel's connection tracking (ctnetlink). @throws NativeError */
  openConnectionNetlink(): NetlinkSocket;
  /** Tells a service manager of a state, such as "READY=1", on its UNIX socket (sd_notify(3)). @throws NativeError */
  notifyService(path: string, state: string): void;
  /**
   * A new network namespace, in which nothing is up, as an fd. It lasts as long as the fd, sockets and processes in it; nothing has a
   * name for it. @throws NativeError
   */
  newNetworkNamespace(): number;
  /**
   * Runs `action` (synchronous) with this thread in the network namespace of a file such as /proc/PID/ns/net; sockets,
   * devices and child processes that it opens stay there. Always returns to the namespace it came from, or ends the process. Not for dgram,
   * whose bind is asynchronous (see `openUdp`), nor for the first use of libuv's threads (asynchronous fs, DNS), which
   * would stay there for good.
   */
  withinNetworkNamespace<T>(file: string, action: () => T): T;
}

/** A TUN device: whole IP packets. Delivery is in batches, from the event loop; writes never block. */
export interface TunDevice {
  readonly name: string;
  start(onBatch: (packets: readonly Packet[]) => void): void;
  /** False if the kernel did not take the packet (queue full, device down). */
  write(packet: Packet): boolean;
  close(): void;
}

/** ESP over IP. Received packets start at the SPI (the IP header is removed). */
export interface RawEspSocket {
  /** For a child process to inherit. */
  readonly fd: number;
  start(onBatch: (packets: readonly Packet[], source: Address) => void): void;
  send(packet: Packet, destination: Address): boolean;
  close(): void;
}

/** A captured frame: octets from the link-layer header on, and the time in microseconds since the epoch. */
export interface CapturedFrame {
  readonly bytes: Uint8Array;
  readonly micros: number;
}

export interface CaptureSocket {
  readonly interfaceName: string;
  start(onFrame: (frame: CapturedFrame) => void): void;
  close(): void;
}

/** Netlink datagrams to and from the kernel; those of other processes are not delivered. */
export interface NetlinkSocket {
  /** Hands a request to the kernel, which carries it out at once: its answer can be received. @throws NativeError */
  send(request: Uint8Array): void;
  /** A datagram that waits, undefined if none does. @throws NativeError with the code ENOBUFS when some were lost */
  receive(): Uint8Array | undefined;
  /** Delivers events as they come; undefined says that some were lost. */
  start(onDatagram: (datagram: Uint8Array | undefined) => void): void;
  close(): void;
}

/** A system call that failed: which, errno name, what to do. */
export class NativeError extends Error {
  override readonly name = 'NativeError';
  /** Such as EPERM. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
