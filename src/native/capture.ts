import { closeSync } from 'node:fs';
import type { Libc } from './libc.ts';
import * as linux from './linux.ts';
import type { CapturedFrame, CaptureSocket } from './native.ts';
import { BATCH, watch } from './readiness.ts';
import { enlargeReceiveBuffer, openSocket } from './sockets.ts';

/** Opens an AF_PACKET socket on an interface of the calling thread's network namespace. @throws NativeError */
export function openCapture(libc: Libc, interfaceName: string): CaptureSocket {
  const what = `capture on '${interfaceName}'`;
  const remedies = {
    EPERM: 'it needs CAP_NET_RAW: run as root, or in a namespace of your own (unshare -Urn)',
    ENODEV: 'there is no such interface in this network namespace',
  };
  // Protocol 0 until it is bound, so that it never receives the frames of another interface.
  const fd = openSocket(libc, what, [linux.AF_PACKET, linux.SOCK_RAW, 0], remedies, (socket) => {
    libc.writeInterfaceRequest(interfaceName, 0);
    if (libc.ioctl(socket, linux.SIOCGIFINDEX) < 0) throw libc.failure(what, remedies);
    const index = libc.valueInt32(linux.IFNAMSIZ);
    enlargeReceiveBuffer(libc, socket);
    libc.ioctl(socket, linux.SIOCGSTAMPNS); // fails, and switches time stamps on (socket(7))
    if (libc.bind(socket, libc.writePacketName(index)) < 0) throw libc.failure(what, remedies);
  });
  return new NativeCapture(libc, fd, interfaceName);
}

class NativeCapture implements CaptureSocket {
  readonly interfaceName: string;
  readonly #libc: Libc;
  readonly #fd: number;
  #unwatch: (() => void) | undefined;
  #closed = false;

  constructor(libc: Libc, fd: number, interfaceName: string) {
    this.#libc = libc;
    this.#fd = fd;
    this.interfaceName = interfaceName;
  }

  start(onFrame: (frame: CapturedFrame) => void): void {
    this.#unwatch ??= watch(this.#libc.koffi, this.#fd, () => {
      for (const frame of this.#receive()) onFrame(frame);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch?.();
    closeSync(this.#fd);
  }

  #receive(): CapturedFrame[] {
    const frames: CapturedFrame[] = [];
    while (frames.length < BATCH) {
      const length = this.#libc.receive(this.#fd);
      if (length < 0) break;
      frames.push({ bytes: this.#libc.data.slice(0, length), micros: this.#stamp() });
    }
    return frames;
  }

  /** When the kernel saw the frame received last. */
  #stamp(): number {
    if (this.#libc.ioctl(this.#fd, linux.SIOCGSTAMPNS) < 0) return Date.now() * 1000;
    return Number(this.#libc.valueInt64(0)) * 1_000_000 + Math.floor(Number(this.#libc.valueInt64(8)) / 1000);
  }
}
