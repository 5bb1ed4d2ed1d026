/*
 * All calls into C are in this file and in readiness.ts. Why they are safe:
 *
 * 1. Memory. The kernel reads and writes only the arena below: one ArrayBuffer of fixed size, referenced by the `Libc`
 *    that lives in module scope (load.ts) for as long as the process, so it is neither moved (its store is off the
 *    JavaScript heap) nor collected. No address of any other object is ever passed.
 * 2. Bounds. An address is made only by `#address(region, length)`, which throws unless the length fits the region.
 *    Received octets are used only up to the length that the call returned, clipped to the region.
 * 3. Lifetime. Every call is synchronous and every fd non-blocking, so the kernel holds no address after a call, and no
 *    other JavaScript runs during one. Callers copy out of the arena before they call anything else.
 * 4. Descriptors. An fd belongs to one object, which closes it once and makes no call with it afterwards.
 * 5. Callbacks. C calls back only for readiness (readiness.ts), with no memory, and our handlers do not run on its stack.
 */
import { endianness } from 'node:os';
import { type Address, addressBytes, addressText, familyOf } from '../wire/address.ts';
import * as linux from './linux.ts';
import { NativeError } from './native.ts';

export type Koffi = typeof import('koffi');

interface Region {
  readonly offset: number;
  readonly length: number;
}

/** The longest IP packet, with a link-layer header. */
const DATA: Region = { offset: 0, length: 65_664 };
/** A sockaddr (at most sockaddr_storage). */
const NAME: Region = { offset: DATA.length, length: 128 };
/** A socklen_t, an int option, a struct ifreq or a struct timespec. */
const VALUE: Region = { offset: NAME.offset + NAME.length, length: 64 };

const LITTLE_ENDIAN = endianness() === 'LE';

type Call = (...values: readonly number[]) => number;

/** The C library, with the arena that its calls work on. Calls return -1 on failure; `failure` says why. */
export class Libc {
  readonly koffi: Koffi;
  /** The regions of the arena: packets, socket addresses, small structures. */
  readonly data: Uint8Array;
  readonly value: DataView;
  readonly #name: Uint8Array;
  readonly #nameView: DataView;
  readonly #arena: ArrayBuffer;
  readonly #base: number;
  readonly #errnoNames: ReadonlyMap<number, string>;
  readonly #socket: Call;
  readonly #bind: Call;
  readonly #setsockopt: Call;
  readonly #ioctl: Call;
  readonly #read: Call;
  readonly #write: Call;
  readonly #recvfrom: Call;
  readonly #sendto: Call;
  readonly #setns: Call;
  readonly #unshare: Call;

  constructor(koffi: Koffi) {
    this.koffi = koffi;
    this.#arena = new ArrayBuffer(VALUE.offset + VALUE.length);
    this.#base = Number(koffi.address(this.#arena));
    this.data = new Uint8Array(this.#arena, DATA.offset, DATA.length);
    this.#name = new Uint8Array(this.#arena, NAME.offset, NAME.length);
    this.#nameView = new DataView(this.#arena, NAME.offset, NAME.length);
    this.value = new DataView(this.#arena, VALUE.offset, VALUE.length);
    this.#errnoNames = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));
    const library = koffi.load(null);
    this.#socket = library.func('int socket(int family, int type, int protocol)');
    this.#bind = library.func('int bind(int fd, uintptr_t name, uint32_t length)');
    this.#setsockopt = library.func(
      'int setsockopt(int fd, int level, int option, uintptr_t value, uint32_t length)',
    );
    this.#ioctl = library.func('int ioctl(int fd, ulong request, uintptr_t argument)');
    this.#read = library.func('intptr_t read(int fd, uintptr_t buffer, size_t length)');
    this.#write = library.func('intptr_t write(int fd, uintptr_t buffer, size_t length)');
    this.#recvfrom = library.func(
      'intptr_t recvfrom(int fd, uintptr_t buffer, size_t length, int flags, uintptr_t name, uintptr_t nameLength)',
    );
    this.#sendto = library.func(
      'intptr_t sendto(int fd, uintptr_t buffer, size_t length, int flags, uintptr_t name, uint32_t nameLength)',
    );
    this.#setns = library.func('int setns(int fd, int kind)');
    this.#unshare = library.func('int unshare(int flags)');
  }

  /** The errno name of the last failed call. */
  get errorCode(): string {
    const number = this.koffi.errno();
    return this.#errnoNames.get(number) ?? `errno ${number}`;
  }

  /** The error of the last failed call: `what` was tried, and per errno name what to do about it. */
  failure(what: string, remedies: Readonly<Record<string, string>> = {}): NativeError {
    const code = this.errorCode;
    const remedy = remedies[code];
    return new NativeError(code, `${what}: ${code}${remedy === undefined ? '' : `; ${remedy}`}`);
  }

  /** A socket, non-blocking and closed on exec; -1 on failure. */
  socket(family: number, type: number, protocol: number): number {
    return this.#socket(family, type | linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC, protocol);
  }

  /** Binds to the name that `writeName`, `writePacketName` or `writeNetlinkName` left in the arena. */
  bind(fd: number, nameLength: number): number {
    return this.#bind(fd, this.#address(NAME, nameLength), nameLength);
  }

  setOption(fd: number, level: number, option: number, value: number): number {
    this.value.setInt32(0, value, LITTLE_ENDIAN);
    return this.#setsockopt(fd, level, option, this.#address(VALUE, 4), 4);
  }

  /** An ioctl whose argument is the structure in `value`. */
  ioctl(fd: number, request: number): number {
    return this.#ioctl(fd, request, this.#address(VALUE, VALUE.length));
  }

  /** Reads into `data`; the number of octets. */
  read(fd: number): number {
    return this.#read(fd, this.#address(DATA, DATA.length), DATA.length);
  }

  /** Writes the first `length` octets of `data`. */
  write(fd: number, length: number): number {
    return this.#write(fd, this.#address(DATA, length), length);
  }

  /** Receives a datagram into `data`, and its source's name; the number of octets. */
  receive(fd: number): number {
    this.value.setUint32(0, NAME.length, LITTLE_ENDIAN);
    const data = this.#address(DATA, DATA.length);
    return this.#recvfrom(
      fd,
      data,
      DATA.length,
      0,
      this.#address(NAME, NAME.length),
      this.#address(VALUE, 4),
    );
  }

  /** Sends the first `length` octets of `data` to the name in the arena. */
  send(fd: number, length: number, nameLength: number): number {
    return this.#sendto(
      fd,
      this.#address(DATA, length),
      length,
      0,
      this.#address(NAME, nameLength),
      nameLength,
    );
  }

  setNetworkNamespace(fd: number): number {
    return this.#setns(fd, linux.CLONE_NEWNET);
  }

  /** A network namespace of its own for this thread. */
  unshareNetwork(): number {
    return this.#unshare(linux.CLONE_NEWNET);
  }

  /** Writes a sockaddr_in or sockaddr_in6; its length. */
  writeName(address: Address, port: number): number {
    this.#name.fill(0);
    const ip6 = familyOf(address) === 6;
    this.#nameView.setUint16(0, ip6 ? linux.AF_INET6 : linux.AF_INET, LITTLE_ENDIAN);
    this.#nameView.setUint16(2, port);
    this.#name.set(addressBytes(address), ip6 ? 8 : 4);
    return ip6 ? 28 : 16;
  }

  /** Writes a sockaddr_un; "@" begins an abstract name. Its length. */
  writeUnixName(path: string): number {
    const bytes = new TextEncoder().encode(path);
    if (bytes.length >= linux.UNIX_PATH_MAX) {
      throw new NativeError('ENAMETOOLONG', `'${path}' is too long for the name of a UNIX socket`);
    }
    this.#name.fill(0);
    this.#nameView.setUint16(0, linux.AF_UNIX, LITTLE_ENDIAN);
    this.#name.set(bytes, 2);
    if (path.startsWith('@')) this.#name[2] = 0;
    return 2 + bytes.length;
  }

  /** Writes a sockaddr_ll for every protocol on an interface; its length. */
  writePacketName(interfaceIndex: number): number {
    this.#name.fill(0);
    this.#nameView.setUint16(0, linux.AF_PACKET, LITTLE_ENDIAN);
    this.#nameView.setUint16(2, linux.ETH_P_ALL);
    this.#nameView.setInt32(4, interfaceIndex, LITTLE_ENDIAN);
    return 20;
  }

  /** Writes a sockaddr_nl of a port that the kernel chooses, for the groups in a bit set; its length. */
  writeNetlinkName(groups: number): number {
    this.#name.fill(0);
    this.#nameView.setUint16(0, linux.AF_NETLINK, LITTLE_ENDIAN);
    this.#nameView.setUint32(8, groups, LITTLE_ENDIAN);
    return 12;
  }

  /** Whether the last `receive` was of a netlink message of the kernel's, rather than of a process. */
  isFromKernel(): boolean {
    return this.#nameView.getUint32(4, LITTLE_ENDIAN) === 0;
  }

  /** The address of the sockaddr_in or sockaddr_in6 that the last `receive` left. */
  readName(): Address {
    return this.#nameView.getUint16(0, LITTLE_ENDIAN) === linux.AF_INET6
      ? addressText(this.#name.subarray(8, 24))
      : addressText(this.#name.subarray(4, 8));
  }

  /** A host-order field of the structure in `value`. */
  valueInt32(offset: number): number {
    return this.value.getInt32(offset, LITTLE_ENDIAN);
  }

  valueInt64(offset: number): bigint {
    return this.value.getBigInt64(offset, LITTLE_ENDIAN);
  }

  /** Writes a struct ifreq: the name, and 16 bits of flags. */
  writeInterfaceRequest(name: string, flags: number): void {
    const bytes = new TextEncoder().encode(name);
    if (bytes.length >= linux.IFNAMSIZ || /[\s/]/.test(name)) {
      throw new NativeError(
        'EINVAL',
        `'${name}' is not an interface name: at most 15 octets, no space, no '/'`,
      );
    }
    const request = new Uint8Array(this.#arena, VALUE.offset, VALUE.length);
    request.fill(0);
    request.set(bytes);
    this.value.setUint16(linux.IFNAMSIZ, flags, LITTLE_ENDIAN);
  }

  /** The name in the struct ifreq that an ioctl has filled. */
  readInterfaceName(): string {
    const bytes = new Uint8Array(this.#arena, VALUE.offset, linux.IFNAMSIZ);
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  }

  #address(region: Region, length: number): number {
    if (!(length >= 0 && length <= region.length)) {
      throw new RangeError(`${length} octets do not fit a region of ${region.length}`);
    }
    return this.#base + region.offset;
  }
}
