import { closeSync } from 'node:fs';
import { xfrmBackend } from '../../src/backend/xfrm/backend.ts';
import { openXfrm, type Xfrm, type XfrmOptions } from '../../src/backend/xfrm/xfrm.ts';
import { connectNamespaces, type NetworkNamespace, openNamespace } from '../../src/host/namespace.ts';
import { packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { SaEvent, TunnelPolicy } from '../../src/link/sa-store.ts';
import type { RawEspSocket, TunDevice } from '../../src/native/native.ts';
import type { Address } from '../../src/wire/address.ts';
import { addressText } from '../../src/wire/address.ts';
import { parseIpHeader } from '../../src/wire/ip.ts';
import type { End, Sent } from '../backend/compliance.ts';
import { native, udpIn, within } from './namespaces.ts';
import { testPath } from './sa-parameters.ts';

const ETHERNET_HEADER = 14;
/** Milliseconds until everything that is on its way has arrived. */
const ON_THE_WAY = 60;

const LOCAL = testPath().localAddress;
const PEERS: readonly Address[] = ['192.0.2.1', '192.0.2.77'];

/** A network namespace with a wire, at whose other end the test is, and devices for inner packets. */
interface Place {
  readonly xfrm: Xfrm;
  readonly outside: NetworkNamespace;
  readonly sent: Sent[];
  readonly received: Uint8Array[];
  readonly tun: TunDevice;
  readonly esp: RawEspSocket;
  close(): Promise<void>;
}

/** Places that nobody uses now, by the way to their kernel: they take long to make. */
const idle = new Map<XfrmOptions['channel'], Place[]>();

/** Closes what `openKernelEnd` keeps for the next. */
export async function closePlaces(): Promise<void> {
  for (const places of idle.values()) for (const place of places.splice(0)) await place.close();
}

/**
 * A backend in the kernel of a network namespace. The inner packets of its first tunnel come from a TUN device and go there; they
 * are routed through a VTI device. Its close fails unless it leaves nothing in the kernel.
 */
export async function openKernelEnd(channel?: XfrmOptions['channel']): Promise<End> {
  const places = idle.get(channel) ?? [];
  idle.set(channel, places);
  const place = places.pop() ?? (await openPlace(channel));
  const { xfrm, outside, sent, received, tun, esp } = place;
  const marks = new Map<string, number>();
  const markOf = ({ id }: TunnelPolicy) => {
    const mark = marks.get(id) ?? marks.size + 1;
    marks.set(id, mark);
    return mark;
  };
  const events: SaEvent[] = [];
  const backend = xfrmBackend({ xfrm, attach: (tunnel) => ({ mark: markOf(tunnel) }) })(
    () => {},
    () => {},
    (event) => events.push(event),
  );
  return {
    backend,
    events,
    async send(_tunnelId, packets) {
      const from = sent.length;
      for (const packet of packets) tun.write(packet);
      await settle();
      return sent.slice(from);
    },
    async receive(_tunnelId, packets, origin) {
      const from = received.length;
      if (origin.encapsulated) {
        const peer = udpIn(outside, origin.address, origin.port);
        for (const packet of packets) peer.send(packetBytes(packet), LOCAL, origin.localPort);
        await settle();
        peer.close();
      } else {
        for (const packet of packets) esp.send(packet, LOCAL);
        await settle();
      }
      return received.slice(from);
    },
    async close() {
      await backend.close();
      const left = [...(await xfrm.channel.states()), ...(await xfrm.channel.policies())];
      places.push(place);
      if (left.length > 0) throw new Error(`a closed backend has left ${left.length} SAs and policies`);
    },
  };
}

async function openPlace(channel: XfrmOptions['channel']): Promise<Place> {
  const [own, outside] = await Promise.all([openNamespace(), openNamespace()]);
  await connectNamespaces(own, outside, { aName: 'wire', bName: 'wire' });
  const tun = within(own, () => native().openTun('inner'));
  await own.exec([
    'sh',
    '-ec',
    `echo 1 >/proc/sys/net/ipv4/ip_forward
     ip -batch - <<X
     address add ${LOCAL}/24 dev wire
     link add vti type vti local ${LOCAL} remote any key 1
     link set inner up
     link set vti up
     route add default dev vti
     route add 10.0.0.0/24 dev inner table 100
     route add 10.1.0.0/24 dev inner table 100
     rule add iif vti lookup 100
X
`,
  ]);
  await outside.exec(['sh', '-ec', PEERS.map((peer) => `ip address add ${peer}/24 dev wire`).join('\n')]);
  const sent: Sent[] = [];
  const capture = within(outside, () => native().openCapture('wire'));
  capture.start(({ bytes }) => {
    const found = espOf(bytes);
    if (found !== undefined) sent.push(found);
  });
  const received: Uint8Array[] = [];
  tun.start((packets) => {
    for (const packet of packets)
      if (packet.buffer[packet.start] >> 4 === 4) received.push(packetBytes(packet).slice(20));
  });
  const esp = within(outside, () => native().openRawEsp(PEERS[0]));
  const socket = udpOf(own, LOCAL);
  const xfrm = await openXfrm({ native: native(), namespace: own.file, ...(channel && { channel }) });
  return {
    xfrm,
    outside,
    sent,
    received,
    tun,
    esp,
    async close() {
      await xfrm.close();
      for (const opened of [capture, esp, socket, tun]) opened.close();
      await Promise.all([own.close(), outside.close()]);
    },
  };
}

/** The socket that receives ESP in UDP for the kernel. */
function udpOf(...[namespace, address]: Parameters<typeof udpIn>) {
  const fd = within(namespace, () => {
    const opened = native().openUdp(address, 4500);
    native().takeEspInUdp(opened);
    return opened;
  });
  return { close: () => closeSync(fd) };
}

/** Also when the event loop was held up meanwhile: then timers come before what there is to read. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ON_THE_WAY));
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** The ESP in a frame of ours, in UDP or not. */
function espOf(frame: Uint8Array): Sent | undefined {
  const header = parseIpHeader(frame, ETHERNET_HEADER, frame.length);
  if (header === undefined || header.family !== 4) return undefined;
  if (addressText(frame.slice(header.source, header.source + 4)) !== LOCAL) return undefined;
  const address = addressText(frame.slice(header.destination, header.destination + 4));
  const payload = frame.subarray(header.payload, header.end);
  if (header.protocol === 50)
    return { packet: packetFrom(payload), to: { address, port: 0, encapsulated: false } };
  if (header.protocol !== 17) return undefined;
  const port = (payload[2] << 8) | payload[3];
  return { packet: packetFrom(payload.subarray(8)), to: { address, port, encapsulated: true } };
}
