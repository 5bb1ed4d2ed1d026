import { createHash, randomBytes } from 'node:crypto';
import { type Packet, packetBytes, udpPacket } from '../../src/link/packet.ts';
import type { Tunnel } from '../../src/link/sa-store.ts';
import { type Address, addressBytes } from '../../src/wire/address.ts';
import { IpProtocol, internetChecksum, parseIpHeader, parseUdpHeader } from '../../src/wire/ip.ts';
import type { UdpEnd } from '../support/namespaces.ts';

/** A file has so many pieces of so many octets. */
const PIECES = 64;
const PIECE = 1_000;
/** Pieces sent at once. */
const BURST = 16;
const PATIENCE = 20_000;
const PORT = 7;
/** DSCP EF, ECN ECT(1). */
const TRAFFIC_CLASS = 0xb9;

/** Two hosts that have each other through a tunnel: a UDP socket of a kernel on one side, packets of ours on the other. */
export interface Ends {
  readonly tunnel: Tunnel;
  readonly ours: Address;
  readonly theirs: Address;
  readonly socket: UdpEnd;
}

/** A file that has been through the tunnel. */
export interface FileReport {
  readonly octets: number;
  readonly sha256: string;
}

/** Sends a random file each way. @throws Error if one does not arrive as it was */
export async function exchangeFiles(ends: Ends): Promise<{ up: FileReport; down: FileReport }> {
  const { socket, tunnel, ours } = ends;
  const arrived: Uint8Array[] = [];
  receive(ends, (message) => arrived.push(message));
  const up = await deliver('to the daemon', (piece) => tunnel.send([toDaemon(ends, piece)]), socket.received);
  const down = await deliver('from the daemon', (piece) => socket.send(piece, ours, PORT), arrived);
  return { up, down };
}

/**
 * Sends numbers both ways, one each in 5 milliseconds if the machine has the time, while something goes on, and a few more.
 * @param action - is told how to wait until some have been sent
 * @returns those that did not arrive
 * @throws Error also if they cannot be sent, such as when the cell was ended meanwhile
 */
export async function streamDuring(
  ends: Ends,
  action: (some: () => Promise<void>) => Promise<void>,
): Promise<{ up: number[]; down: number[] }> {
  const { socket, tunnel, ours } = ends;
  const arrived: Uint8Array[] = [];
  receive(ends, (message) => arrived.push(message));
  const already = socket.received.length;
  let sent = 0;
  let failure: unknown;
  const timer = setInterval(() => {
    const piece = numbered(sent++, new Uint8Array(0));
    try {
      tunnel.send([toDaemon(ends, piece)]);
      socket.send(piece, ours, PORT);
    } catch (error) {
      failure = error;
    }
  }, 5);
  const some = async () => {
    for (const end = sent + 20; sent < end; ) await pause(5);
  };
  try {
    await action(some);
    await some();
  } finally {
    clearInterval(timer);
  }
  if (failure !== undefined) throw failure;
  const missing = (messages: readonly Uint8Array[]) => {
    const there = new Set(messages.map(numberOf));
    return Array.from({ length: sent }, (_, number) => number).filter((number) => !there.has(number));
  };
  const lost = () => ({ up: missing(socket.received.slice(already)), down: missing(arrived) });
  const end = performance.now() + PATIENCE;
  while (lost().up.length + lost().down.length > 0 && performance.now() < end) await pause(20);
  return lost();
}

export const pause = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

/** Sends all pieces, and again those that are not there, until all are. */
async function deliver(
  direction: string,
  send: (piece: Uint8Array) => void,
  received: readonly Uint8Array[],
): Promise<FileReport> {
  const file = randomBytes(PIECES * PIECE);
  const there = new Map<number, Uint8Array>();
  const end = performance.now() + PATIENCE;
  let seen = received.length;
  const collect = () => {
    for (; seen < received.length; seen++) there.set(numberOf(received[seen]), received[seen].subarray(4));
  };
  while (there.size < PIECES) {
    if (performance.now() > end)
      throw new Error(`${there.size} of ${PIECES} pieces of a file arrived ${direction}`);
    const missing = Array.from({ length: PIECES }, (_, index) => index).filter((index) => !there.has(index));
    for (const index of missing.slice(0, BURST))
      send(numbered(index, file.subarray(index * PIECE, (index + 1) * PIECE)));
    const enough = there.size + Math.min(BURST, missing.length);
    for (let wait = 0; wait < 20 && there.size < enough; wait++) {
      await pause(2);
      collect();
    }
  }
  const copy = Buffer.concat(Array.from({ length: PIECES }, (_, index) => there.get(index)!));
  const [sha256, expected] = [copy, file].map((each) => createHash('sha256').update(each).digest('hex'));
  if (sha256 !== expected) throw new Error(`a file did not arrive ${direction} as it was sent`);
  return { octets: copy.length, sha256 };
}

function numbered(number: number, content: Uint8Array): Uint8Array {
  const piece = new Uint8Array(4 + content.length);
  new DataView(piece.buffer).setUint32(0, number);
  piece.set(content, 4);
  return piece;
}

function numberOf(piece: Uint8Array): number {
  return new DataView(piece.buffer, piece.byteOffset).getUint32(0);
}

/** With a traffic class that must not be seen outside. */
function toDaemon({ ours, theirs, socket }: Ends, message: Uint8Array): Packet {
  const packet = udpPacket(message, {
    source: addressBytes(ours),
    destination: addressBytes(theirs),
    sourcePort: PORT,
    destinationPort: socket.port,
  });
  const { buffer, start } = packet;
  if (theirs.includes(':')) buffer.set([0x60 | (TRAFFIC_CLASS >> 4), (TRAFFIC_CLASS << 4) & 0xff], start);
  else {
    buffer[start + 1] = TRAFFIC_CLASS;
    buffer.fill(0, start + 10, start + 12);
    const sum = internetChecksum(buffer, start, start + 20);
    buffer.set([sum >> 8, sum & 0xff], start + 10);
  }
  return packet;
}

function receive({ tunnel, socket }: Ends, handler: (message: Uint8Array) => void): void {
  tunnel.onPackets((packets) => {
    for (const packet of packets) {
      const bytes = packetBytes(packet);
      const ip = parseIpHeader(bytes, 0, bytes.length);
      const udp = ip?.protocol === IpProtocol.UDP ? parseUdpHeader(bytes, ip) : undefined;
      if (udp !== undefined && udp.sourcePort === socket.port) handler(bytes.slice(udp.payload, udp.end));
    }
  });
}
