import { Bench } from 'tinybench';
import type { CryptoProvider } from '../src/crypto/provider.ts';
import { InboundSa, NextHeader, OutboundSa } from '../src/esp/sa.ts';
import { allocatePacket } from '../src/link/packet.ts';
import { writeIpHeader } from '../src/wire/ip.ts';

const SUITES = {
  'AES-GCM-16-128': { encryption: 20, keyLength: 128, integrity: 0, esn: true },
  'ChaCha20-Poly1305': { encryption: 28, keyLength: 256, integrity: 0, esn: true },
} as const;

/** Microseconds per packet of `length` octets. */
export interface EspFigures {
  readonly provider: string;
  readonly suite: string;
  readonly length: number;
  readonly layers: number;
  readonly seal: number;
  readonly open: number;
}

/** Sealing and opening in place, `layers` deep, with an IP header written between the layers. */
export async function espPackets(
  crypto: CryptoProvider,
  suiteName: keyof typeof SUITES,
  length: number,
  layers: number,
  milliseconds: number,
): Promise<EspFigures> {
  const suite = SUITES[suiteName];
  const encryption = new Uint8Array(suite.keyLength / 8 + 4).fill(3);
  const parameters = { spi: 4711, suite, keys: { encryption, integrity: new Uint8Array(0) } };
  const outbound = Array.from({ length: layers }, () => new OutboundSa(crypto, parameters));
  const inbound = Array.from({ length: layers }, () => new InboundSa(crypto, parameters));
  const slot = allocatePacket(length);
  const { start, end } = slot;
  const seal = () => {
    slot.start = start;
    slot.end = end;
    header(slot.buffer, start, length);
    outbound.forEach((sa, layer) => {
      if (layer > 0) {
        slot.start -= 20;
        header(slot.buffer, slot.start, slot.end - slot.start);
      }
      if (!sa.seal(slot, NextHeader.IPV4)) throw new Error('the sequence numbers are used up');
    });
  };
  const sealing = await run('seal', seal, milliseconds);
  const both = await run(
    'seal and open',
    () => {
      seal();
      for (let layer = layers - 1; layer >= 0; layer--) {
        if (!inbound[layer].open(slot).ok) throw new Error('the packet does not open');
        if (layer > 0) slot.start += 20;
      }
    },
    milliseconds,
  );
  return {
    provider: crypto.name,
    suite: suiteName,
    length,
    layers,
    seal: sealing,
    open: round(both - sealing),
  };
}

const SOURCE = Uint8Array.of(10, 0, 0, 1);
const DESTINATION = Uint8Array.of(10, 0, 0, 2);

function header(buffer: Uint8Array, at: number, length: number): void {
  writeIpHeader(buffer, at, { source: SOURCE, destination: DESTINATION, protocol: 50 }, length - 20);
}

/** The median in microseconds. */
async function run(name: string, action: () => void, time: number): Promise<number> {
  const bench = new Bench({ time, warmupTime: time / 4 });
  bench.add(name, action);
  const [task] = await bench.run();
  if (task.result.state !== 'completed')
    throw new Error(`the benchmark ${name} failed: ${task.result.state}`);
  return round(task.result.latency.p50 * 1000);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
