import { closeSync, constants, openSync } from 'node:fs';
import { allocatePacket, type Packet, packetBytes } from '../link/packet.ts';
import type { Libc } from './libc.ts';
import { IFF_NO_PI, IFF_TUN, TUNSETIFF } from './linux.ts';
import { NativeError, type TunDevice } from './native.ts';
import { BATCH, watch } from './readiness.ts';

const DEVICE = '/dev/net/tun';

const NEEDS_ADMIN =
  'opening a TUN device needs CAP_NET_ADMIN: run as root, or in a namespace of your own (unshare -Urn)';

const REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: `there is no ${DEVICE}: load the module (modprobe tun), or mknod ${DEVICE} c 10 200`,
  ENODEV: 'the kernel has no TUN driver: load the module (modprobe tun)',
  EPERM: NEEDS_ADMIN,
  EACCES: `${NEEDS_ADMIN}; ${DEVICE} itself must be readable and writable for you: chmod 0666 ${DEVICE} as root`,
  EBUSY: 'another process has that device open: stop it, or choose another name',
  EINVAL: 'an interface of that name exists and is not a TUN device: choose another name',
};

/** Opens a TUN device in the calling thread's network namespace. @throws NativeError */
export function openTun(libc: Libc, name: string): TunDevice {
  libc.writeInterfaceRequest(name, IFF_TUN | IFF_NO_PI);
  let fd: number;
  try {
    fd = openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'EIO';
    throw new NativeError(code, `${DEVICE}: ${code}; ${REMEDIES[code] ?? 'it cannot be opened'}`);
  }
  if (libc.ioctl(fd, TUNSETIFF) < 0) {
    const failure = libc.failure(`TUN device '${name}'`, REMEDIES);
    closeSync(fd);
    throw failure;
  }
  return new NativeTun(libc, fd, libc.readInterfaceName());
}

class NativeTun implements TunDevice {
  readonly name: string;
  readonly #libc: Libc;
  readonly #fd: number;
  #unwatch: (() => void) | undefined;
  #closed = false;

  constructor(libc: Libc, fd: number, name: string) {
    this.#libc = libc;
    this.#fd = fd;
    this.name = name;
  }

  start(onBatch: (packets: readonly Packet[]) => void): void {
    this.#unwatch ??= watch(this.#libc.koffi, this.#fd, () => {
      const packets = this.#receive();
      if (packets.length > 0) onBatch(packets);
    });
  }

  write(packet: Packet): boolean {
    const length = packet.end - packet.start;
    if (this.#closed || length > this.#libc.data.length) return false;
    this.#libc.data.set(packetBytes(packet));
    return this.#libc.write(this.#fd, length) === length;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch?.();
    closeSync(this.#fd);
  }

  #receive(): Packet[] {
    const packets: Packet[] = [];
    while (packets.length < BATCH) {
      const length = this.#libc.read(this.#fd);
      if (length <= 0) break;
      const packet = allocatePacket(length);
      packet.buffer.set(this.#libc.data.subarray(0, length), packet.start);
      packets.push(packet);
    }
    return packets;
  }
}
