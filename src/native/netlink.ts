import { closeSync } from 'node:fs';
import type { Libc } from './libc.ts';
import * as linux from './linux.ts';
import { NativeError, type NetlinkSocket } from './native.ts';
import { BATCH, watch } from './readiness.ts';
import { enlargeReceiveBuffer, openSocket } from './sockets.ts';

const WHAT = "netlink socket of the kernel's IPsec";
const REMEDIES = {
  EPROTONOSUPPORT: 'the kernel has none: load the module (modprobe xfrm_user)',
  EPERM: 'it needs CAP_NET_ADMIN: run as root, or in a namespace of your own (unshare -Urn)',
};

/** Two names of one number. */
const NOTHING_THERE = ['EAGAIN', 'EWOULDBLOCK'];

/** `Native.openXfrmNetlink`. */
export function openXfrmNetlink(libc: Libc, groups: number): NetlinkSocket {
  const parameters = [linux.AF_NETLINK, linux.SOCK_RAW, linux.NETLINK_XFRM] as const;
  const fd = openSocket(libc, WHAT, parameters, REMEDIES, (socket) => {
    for (const option of [linux.NETLINK_CAP_ACK, linux.NETLINK_EXT_ACK]) {
      if (libc.setOption(socket, linux.SOL_NETLINK, option, 1) < 0) throw libc.failure(WHAT);
    }
    enlargeReceiveBuffer(libc, socket);
    if (libc.bind(socket, libc.writeNetlinkName(groups)) < 0) throw libc.failure(WHAT, REMEDIES);
  });
  return new NativeNetlink(libc, fd);
}

class NativeNetlink implements NetlinkSocket {
  readonly #libc: Libc;
  readonly #fd: number;
  #unwatch: (() => void) | undefined;
  #closed = false;

  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
  }

  send(request: Uint8Array): void {
    if (this.#closed) throw new NativeError('EBADF', `${WHAT}: it is closed`);
    if (request.length > this.#libc.data.length)
      throw new RangeError(`${request.length} octets are no request`);
    this.#libc.data.set(request);
    const sent = this.#libc.send(this.#fd, request.length, this.#libc.writeNetlinkName(0));
    // The arena is not to keep keys.
    this.#libc.data.fill(0, 0, request.length);
    if (sent < 0) throw this.#libc.failure(WHAT, REMEDIES);
  }

  receive(): Uint8Array | undefined {
    if (this.#closed) return undefined;
    for (;;) {
      const length = this.#libc.receive(this.#fd);
      if (length < 0) {
        if (NOTHING_THERE.includes(this.#libc.errorCode)) return undefined;
        throw this.#libc.failure(WHAT);
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
