import { closeSync } from 'node:fs';
import type { Libc } from './libc.ts';
import * as linux from './linux.ts';
import { NativeError, type NetlinkSocket } from './native.ts';
import { BATCH, watch } from './readiness.ts';
import { enlargeReceiveBuffer, openSocket } from './sockets.ts';

/** What a socket is for, and what to do where there is none. */
interface Purpose {
  readonly what: string;
  readonly remedies: Readonly<Record<string, string>>;
}

const EPERM = 'it needs CAP_NET_ADMIN: run as root, or in a namespace of your own (unshare -Urn)';
const IPSEC: Purpose = {
  what: "netlink socket of the kernel's IPsec",
  remedies: { EPERM, EPROTONOSUPPORT: 'the kernel has none: load the module (modprobe xfrm_user)' },
};
const CONNECTIONS: Purpose = {
  what: "netlink socket of the kernel's connection tracking",
  remedies: {
    EPERM,
    EPROTONOSUPPORT: 'the kernel has none: load the module (modprobe nf_conntrack_netlink)',
  },
};

/** Two names of one number. */
const NOTHING_THERE = ['EAGAIN', 'EWOULDBLOCK'];

/** `Native.openXfrmNetlink`. */
export function openXfrmNetlink(libc: Libc, groups: number): NetlinkSocket {
  return openNetlink(libc, linux.NETLINK_XFRM, groups, IPSEC);
}

/** `Native.openConnectionNetlink`. */
export function openConnectionNetlink(libc: Libc): NetlinkSocket {
  return openNetlink(libc, linux.NETLINK_NETFILTER, 0, CONNECTIONS);
}

function openNetlink(libc: Libc, protocol: number, groups: number, purpose: Purpose): NetlinkSocket {
  const { what, remedies } = purpose;
  const parameters = [linux.AF_NETLINK, linux.SOCK_RAW, protocol] as const;
  const fd = openSocket(libc, what, parameters, remedies, (socket) => {
    for (const option of [linux.NETLINK_CAP_ACK, linux.NETLINK_EXT_ACK]) {
      if (libc.setOption(socket, linux.SOL_NETLINK, option, 1) < 0) throw libc.failure(what);
    }
    enlargeReceiveBuffer(libc, socket);
    if (libc.bind(socket, libc.writeNetlinkName(groups)) < 0) throw libc.failure(what, remedies);
  });
  return new NativeNetlink(libc, fd, purpose);
}

class NativeNetlink implements NetlinkSocket {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #purpose: Purpose;
  #unwatch: (() => void) | undefined;
  #closed = false;

  constructor(libc: Libc, fd: number, purpose: Purpose) {
    this.#libc = libc;
    this.#fd = fd;
    this.#purpose = purpose;
  }

  send(request: Uint8Array): void {
    const { what, remedies } = this.#purpose;
    if (this.#closed) throw new NativeError('EBADF', `${what}: it is closed`);
    if (request.length > this.#libc.data.length)
      throw new RangeError(`${request.length} octets are no request`);
    this.#libc.data.set(request);
    const sent = this.#libc.send(this.#fd, request.length, this.#libc.writeNetlinkName(0));
    // The arena is not to keep keys.
    this.#libc.data.fill(0, 0, request.length);
    if (sent < 0) throw this.#libc.failure(what, remedies);
  }

  receive(): Uint8Array | undefined {
    if (this.#closed) return undefined;
    for (;;) {
      const length = this.#libc.receive(this.#fd);
      if (length < 0) {
        if (NOTHING_THERE.includes(this.#libc.errorCode)) return undefined;
        throw this.#libc.failure(this.#purpose.what);
      }
      const datagram = this.#libc.data.slice(0, length);
      this.#libc.data.fill(0, 0, length);
      if (this.#libc.isFromKernel()) return datagram;
    }
  }

  start(onDatagram: (datagram: Uint8Array | undefined) => void): void {
    this.#unwatch ??= watch(this.#libc.koffi, this.#fd, () => {
      for (let count = 0; count < BATCH; count++) {
        const datagram = this.#receiveEvent();
        if (datagram === 'none') break;
        onDatagram(datagram);
      }
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch?.();
    closeSync(this.#fd);
  }

  #receiveEvent(): Uint8Array | undefined | 'none' {
    try {
      return this.receive() ?? 'none';
    } catch {
      return undefined; // ENOBUFS: reading has cleared it
    }
  }
}
