import type { Prefix } from '../../wire/address.ts';
import { IpProtocol } from '../../wire/ip.ts';
import type { TrafficSelector } from '../../wire/traffic-selector.ts';
import type { PortMask, XfrmSelector } from './model.ts';

/** The kernel walks through policies that are no host's or network's own. */
const MOST_SELECTORS = 256;

const ANY_PORT: PortMask = { port: 0, mask: 0 };

/**
 * Selectors for packets from `sources` to `destinations`: the kernel has prefixes where IKE has ranges.
 * @throws RangeError where it takes more than 256 of them, or where there is none: the families or protocols do not agree
 */
export function xfrmSelectors(
  sources: readonly TrafficSelector[],
  destinations: readonly TrafficSelector[],
): readonly XfrmSelector[] {
  const selectors: XfrmSelector[] = [];
  for (const source of sources) {
    for (const destination of destinations) {
      const protocol = commonProtocol(source, destination);
      if (source.family !== destination.family || protocol === undefined) continue;
      for (const from of blocks(source, protocol)) {
        for (const to of blocks(destination, protocol)) {
          selectors.push({
            source: from.prefix,
            destination: to.prefix,
            protocol,
            sourcePorts: from.ports,
            destinationPorts: to.ports,
          });
          if (selectors.length > MOST_SELECTORS)
            throw new RangeError(
              `traffic selectors that take more than ${MOST_SELECTORS} policies of the kernel`,
            );
        }
      }
    }
  }
  if (selectors.length === 0) throw new RangeError('traffic selectors that no packet fits');
  return selectors;
}

/** The protocol that both allow; undefined if there is none. */
function commonProtocol(a: TrafficSelector, b: TrafficSelector): number | undefined {
  if (a.protocol === 0 || b.protocol === 0) return a.protocol || b.protocol;
  return a.protocol === b.protocol ? a.protocol : undefined;
}

/** The addresses and ports of one side, in blocks. Only TCP and UDP have ports here; what limits others' fits no packet. */
function blocks(
  { family, startAddress, endAddress, startPort, endPort }: TrafficSelector,
  protocol: number,
): { readonly prefix: Prefix; readonly ports: PortMask }[] {
  const prefixes = alignedBlocks(toNumber(startAddress), toNumber(endAddress), startAddress.length * 8).map(
    ({ start, length }): Prefix => ({ family, bytes: toBytes(start, startAddress.length), length }),
  );
  const ports = portBlocks(startPort, endPort, protocol);
  return prefixes.flatMap((prefix) => ports.map((mask) => ({ prefix, ports: mask })));
}

function portBlocks(startPort: number, endPort: number, protocol: number): readonly PortMask[] {
  if (startPort === 0 && endPort === 65535) return [ANY_PORT];
  if (protocol !== IpProtocol.TCP && protocol !== IpProtocol.UDP) return [];
  return alignedBlocks(BigInt(startPort), BigInt(endPort), 16).map(({ start, length }) => ({
    port: Number(start),
    mask: (0xffff << (16 - length)) & 0xffff,
  }));
}

/** A range of numbers of `bits` bits as the fewest blocks whose numbers have their first `length` bits in common. */
function alignedBlocks(
  first: bigint,
  last: bigint,
  bits: number,
): { readonly start: bigint; readonly length: number }[] {
  const found: { start: bigint; length: number }[] = [];
  for (let start = first; start <= last; ) {
    let free = 0n;
    while (free < bits && (start & ((2n << free) - 1n)) === 0n && start + (2n << free) - 1n <= last) free++;
    found.push({ start, length: bits - Number(free) });
    start += 1n << free;
  }
  return found;
}

function toNumber(bytes: Uint8Array): bigint {
  return bytes.reduce((number, octet) => (number << 8n) | BigInt(octet), 0n);
}

function toBytes(number: bigint, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) =>
    Number((number >> BigInt(8 * (length - 1 - index))) & 0xffn),
  );
}
