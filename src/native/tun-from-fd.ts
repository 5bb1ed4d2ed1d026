import { closeSync, readSync, writeSync } from 'node:fs';
import { MAX_PACKET, type Packet, packetBytes, packetFrom } from '../link/packet.ts';
import type { TunDevice } from './native.ts';

const BATCH = 64;
/** Milliseconds between looks at a device that had nothing to read. */
const IDLE_DELAY = 2;

/**
 * A TUN device on an inherited, non-blocking fd (see `tunLauncher`), with nothing but Node: it is polled, at every turn of
 * the event loop while packets flow and every 2 ms while none do. The fd is owned from now on.
 */
export function tunFromFd(fd: number, name: string): TunDevice {
  const buffer = new Uint8Array(MAX_PACKET);
  let cancel: (() => void) | undefined;
  let closed = false;

  const receive = (): Packet[] => {
    const packets: Packet[] = [];
    try {
      while (packets.length < BATCH) {
        const length = readSync(fd, buffer);
        packets.push(packetFrom(buffer.subarray(0, length)));
      }
    } catch {
      // EAGAIN: nothing more for now. Any other error (the device is down) may pass as well.
    }
    return packets;
  };

  return {
    name,
    start(onBatch) {
      if (cancel !== undefined) return;
      const poll = () => {
        const packets = receive();
        if (packets.length > 0) {
          const immediate = setImmediate(poll);
          cancel = () => clearImmediate(immediate);
          onBatch(packets);
        } else {
          const timer = setTimeout(poll, IDLE_DELAY);
          cancel = () => clearTimeout(timer);
        }
      };
      poll();
    },
    write(packet) {
      if (closed) return false;
      try {
        return writeSync(fd, packetBytes(packet)) === packet.end - packet.start;
      } catch {
        return false;
      }
    },
    close() {
      if (closed) return;
      closed = true;
      cancel?.();
      closeSync(fd);
    },
  };
}
