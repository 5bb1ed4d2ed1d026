import { addressBytes } from '../../src/wire/address.ts';
import { concat, fromHex } from '../../src/wire/bytes.ts';
import { IpProtocol, writeIpHeader, writeUdpHeader } from '../../src/wire/ip.ts';

/** Frames as captures hold them: Ethernet headers with these hardware addresses. */
const ETHERNET = fromHex('02aabbccdd0102aabbccdd02');

export function ethernet(etherType: number, ...payload: readonly Uint8Array[]): Uint8Array {
  return concat(ETHERNET, Uint8Array.of(etherType >> 8, etherType & 255), ...payload);
}

export function ipFrame(
  source: string,
  destination: string,
  protocol: number,
  ...payload: readonly Uint8Array[]
): Uint8Array {
  return ethernet(0x0800, ipPacket(source, destination, protocol, ...payload));
}

export function ipPacket(
  source: string,
  destination: string,
  protocol: number,
  ...payload: readonly Uint8Array[]
): Uint8Array {
  const body = concat(...payload);
  const packet = new Uint8Array(20 + body.length);
  writeIpHeader(packet, 0, { source, destination, protocol }, body.length);
  packet.set(body, 20);
  return packet;
}

export function udpFrame(
  source: string,
  destination: string,
  ports: readonly [number, number],
  ...payload: readonly Uint8Array[]
): Uint8Array {
  const body = concat(new Uint8Array(8), ...payload);
  const [sourcePort, destinationPort] = ports;
  const [from, to] = [addressBytes(source), addressBytes(destination)];
  writeUdpHeader(body, 0, body.length, { source: from, destination: to, sourcePort, destinationPort });
  return ipFrame(source, destination, IpProtocol.UDP, body);
}

/** ESP whose ciphertext is `fill` octets with `hidden` at an offset in it. */
export function espFrame(
  source: string,
  destination: string,
  spi: number,
  sequence: number,
  hidden: Uint8Array = new Uint8Array(0),
  at = 40,
): Uint8Array {
  const esp = new Uint8Array(200).map((_, i) => (i * 37 + sequence * 101 + 7) & 255);
  const view = new DataView(esp.buffer);
  view.setUint32(0, spi);
  view.setUint32(4, sequence);
  esp.set(hidden, 8 + at);
  return ipFrame(source, destination, IpProtocol.ESP, esp);
}

/** An ARP request. */
export function arpFrame(sender: string, target: string): Uint8Array {
  const hardware = fromHex('02aabbccdd02');
  return ethernet(
    0x0806,
    fromHex('0001080006040001'),
    hardware,
    addressBytes(sender),
    new Uint8Array(6),
    addressBytes(target),
  );
}

export function tcpFrame(
  source: string,
  destination: string,
  sequence: Uint8Array,
  data: Uint8Array,
): Uint8Array {
  const header = concat(
    fromHex('c3500050'),
    sequence,
    sequence,
    fromHex('8018fffe'),
    sequence.subarray(0, 2),
    fromHex('0000'),
    fromHex('0101080a'),
    sequence,
    sequence,
  );
  return ipFrame(source, destination, IpProtocol.TCP, header, data);
}

/** An IKE message in clear with these payloads: [type, body]. */
export function ikeMessage(...payloads: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const chain = payloads.map(([, body], index) => {
    const length = body.length + 4;
    return concat(Uint8Array.of(payloads[index + 1]?.[0] ?? 0, 0, length >> 8, length & 255), body);
  });
  const header = new Uint8Array(28);
  header.fill(0xee, 0, 16);
  header[16] = payloads[0][0];
  header[17] = 0x20;
  return concat(header, ...chain);
}
