import { closeSync } from 'node:fs';
import { allocatePacket, type Packet, packetBytes } from '../link/packet.ts';
import type { Address, Family } from '../wire/address.ts';
import type { Libc } from './libc.ts';
import type { RawEspSocket } from './native.ts';
import { BATCH, watch } from './readiness.ts';

/** A raw ESP socket on an fd that it owns from now on. */
export class NativeRawEsp implements RawEspSocket {
  readonly fd: number;
  readonly #libc: Libc;
  readonly #family: Family;
  #unwatch: (() => void) | undefined;
  #closed = false;

  constructor(libc: Libc, fd: number, family: Family) {
    this.#libc = libc;
    this.fd = fd;
    this.#family = family;
  }

  start(onBatch: (packets: readonly Packet[], source: Address) => void): void {
    this.#unwatch ??= watch(this.#libc.koffi, this.fd, () => {
      for (const { source, packets } of this.#receive()) onBatch(packets, source);
    });
  }

  send(packet: Packet, destination: Address): boolean {
    const length = packet.end - packet.start;
    if (this.#closed || length > this.#libc.data.length) return false;
    this.#libc.data.set(packetBytes(packet));
    return this.#libc.send(this.fd, length, this.#libc.writeName(destination, 0)) === length;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch?.();
    closeSync(this.fd);
  }

  /** Up to a batch of packets, in runs from one source. */
  #receive(): { source: Address; packets: Packet[] }[] {
    const runs: { source: Address; packets: Packet[] }[] = [];
    for (let count = 0; count < BATCH; count++) {
      const length = this.#libc.receive(this.fd);
      if (length < 0) break;
      const source = this.#libc.readName();
      const data = this.#libc.data;
      // An IPv4 raw socket receives the IP header too, an IPv6 one does not (raw(7), RFC 3542 3).
      const header = this.#family === 4 ? (data[0] & 15) * 4 : 0;
      if (length <= header) continue;
      const packet = allocatePacket(length - header);
      packet.buffer.set(data.subarray(header, length), packet.start);
      const run = runs.at(-1);
      if (run?.source === source) run.packets.push(packet);
      else runs.push({ source, packets: [packet] });
    }
    return runs;
  }
}
