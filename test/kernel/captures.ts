import { captureLink, type LinkCapture } from '../../src/demo/capture.ts';
import { addressFact, observeLink } from '../../src/demo/observation.ts';
import {
  type Address,
  addressBytes,
  addressText,
  type Family,
  parsePrefix,
  prefixContains,
} from '../../src/wire/address.ts';
import { IpProtocol, parseIpHeader } from '../../src/wire/ip.ts';
import { native } from '../support/namespaces.ts';
import { ADDRESSES, NODES, type NodeName, type World } from './world.ts';

const ETHERNET = 14;

/** An IP packet on a link, and what of its header an observer could tell senders apart by. */
export interface SeenPacket {
  readonly source: Address;
  readonly destination: Address;
  readonly family: Family;
  readonly kind: 'esp' | 'ike' | 'esp in UDP' | 'other';
  /** Octets, the IP header included. */
  readonly length: number;
  readonly isFragment: boolean;
  readonly ports?: readonly [number, number];
  /** "DF TTL 64 TOS 0 ID 0", of IPv6 "hop limit 64 class 0 flow 0". */
  readonly header: string;
}

/** By link. */
type Count = Readonly<Record<NodeName, number>>;

/** What passes the router on the link of each node, in both directions. */
export class Captures {
  readonly #links: Readonly<Record<NodeName, LinkCapture>>;

  constructor({ router }: World) {
    this.#links = Object.fromEntries(
      NODES.map((name) => [name, captureLink(native(), router, `to${name}`)]),
    ) as Record<NodeName, LinkCapture>;
  }

  /** So far. */
  packets(link: NodeName): SeenPacket[] {
    return this.#links[link].frames
      .map(({ bytes }) => dissect(bytes))
      .filter((packet) => packet !== undefined);
  }

  /** On which links an address is to be seen, in whatever octets and form. */
  linksWith(address: Address): NodeName[] {
    const fact = addressFact(address, address);
    return NODES.filter((name) => {
      const frames = this.#links[name].frames.map(({ bytes }) => bytes);
      return observeLink(frames, [fact]).sightings.length > 0;
    });
  }

  /**
   * How many packets there have been; or, since then, a function that says how many a node has sent or received of a kind.
   */
  count(): Count;
  count(since: Count): (node: NodeName, way: 'from' | 'to', kind: SeenPacket['kind']) => number;
  count(since?: Count) {
    if (since === undefined)
      return Object.fromEntries(NODES.map((name) => [name, this.packets(name).length])) as Count;
    return (node: NodeName, way: 'from' | 'to', kind: SeenPacket['kind']) => {
      const own = Object.values(ADDRESSES[node]);
      const isMeant = ({ source, destination }: SeenPacket) =>
        own.includes(way === 'from' ? source : destination);
      return this.packets(node)
        .slice(since[node])
        .filter((packet) => packet.kind === kind && isMeant(packet)).length;
    };
  }

  close(): void {
    for (const name of NODES) this.#links[name].close();
  }
}

function dissect(frame: Uint8Array): SeenPacket | undefined {
  const ip = parseIpHeader(frame, ETHERNET, frame.length);
  if (ip === undefined) return undefined;
  const { family, payload, protocol, fragment } = ip;
  const view = new DataView(frame.buffer, frame.byteOffset + ETHERNET);
  const text = (from: number, to: number) => addressText(frame.subarray(from, to));
  const ports =
    protocol === IpProtocol.UDP || protocol === IpProtocol.TCP
      ? ([view.getUint16(payload - ETHERNET), view.getUint16(payload - ETHERNET + 2)] as const)
      : undefined;
  return {
    source: text(ip.source, ip.destination),
    destination: text(ip.destination, ip.destination + ip.destination - ip.source),
    family,
    kind: protocol === IpProtocol.ESP ? 'esp' : kindOfUdp(frame.subarray(payload + 8, ip.end), ports),
    length: ip.end - ip.offset,
    isFragment: fragment,
    ...(ports !== undefined && { ports }),
    header: family === 4 ? header4(view) : header6(view),
  };
}

/** @param ports - of UDP or TCP; no server has one of these over TCP */
function kindOfUdp(content: Uint8Array, ports: SeenPacket['ports']): SeenPacket['kind'] {
  if (ports?.includes(500)) return 'ike';
  if (!ports?.includes(4500)) return 'other';
  return content.length >= 4 && content.subarray(0, 4).every((octet) => octet === 0) ? 'ike' : 'esp in UDP';
}

function header4(view: DataView): string {
  const isDf = (view.getUint8(6) & 0x40) !== 0;
  const id = view.getUint16(4);
  return `${isDf ? 'DF' : 'no DF'} TTL ${view.getUint8(8)} TOS ${view.getUint8(1)} ID ${id === 0 ? 0 : 'set'}`;
}

function header6(view: DataView): string {
  const [first, hopLimit] = [view.getUint32(0), view.getUint8(7)];
  return `hop limit ${hopLimit} class ${(first >> 20) & 0xff} flow ${(first & 0xf_ffff) === 0 ? 0 : 'set'}`;
}

const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'].map(parsePrefix);

export function isPrivate(address: Address): boolean {
  const bytes = addressBytes(address);
  return PRIVATE.some((prefix) => prefix.bytes.length === bytes.length && prefixContains(prefix, bytes));
}
