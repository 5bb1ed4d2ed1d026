import type { Origin } from '../../src/link/link.ts';
import { udpPacket as buildUdpPacket, type Packet } from '../../src/link/packet.ts';
import type { SaParameters, TunnelPolicy } from '../../src/link/sa-store.ts';
import { type Address, addressBytes, parsePrefix } from '../../src/wire/address.ts';
import { prefixSelector } from '../../src/wire/traffic-selector.ts';

/** The path of an SA in a test. */
export function testPath(overrides: Partial<Origin> = {}): Origin {
  return {
    linkId: 'host',
    address: '192.0.2.1',
    port: 500,
    localAddress: '192.0.2.2',
    localPort: 500,
    encapsulated: false,
    ...overrides,
  };
}

export function testPolicy(id: string, local = '10.0.0.0/24', remote = '10.1.0.0/24'): TunnelPolicy {
  return { id, local: [prefixSelector(parsePrefix(local))], remote: [prefixSelector(parsePrefix(remote))] };
}

/** AES-GCM-16-128 with a key made of one octet. */
export function testSa(
  spi: number,
  tunnel: TunnelPolicy,
  path: Origin = testPath(),
  keyOctet = 7,
): SaParameters {
  return {
    spi,
    suite: { encryption: 20, keyLength: 128, integrity: 0, esn: false },
    keys: { encryption: new Uint8Array(20).fill(keyOctet), integrity: new Uint8Array(0) },
    path,
    tunnel,
  };
}

/** A UDP datagram as a whole IP packet. */
export function udpPacket(
  source: Address,
  destination: Address,
  payload: Uint8Array,
  ports: { readonly from?: number; readonly to?: number } = {},
): Packet {
  return buildUdpPacket(payload, {
    source: addressBytes(source),
    destination: addressBytes(destination),
    sourcePort: ports.from ?? 4_000,
    destinationPort: ports.to ?? 4_001,
  });
}
