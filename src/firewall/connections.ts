import { constants } from 'node:os';
import type { Enter } from '../backend/xfrm/channel.ts';
import {
  MessageWriter,
  NetlinkFlag,
  type NetlinkMessage,
  NetlinkType,
  parseAnswer,
  parseAttributes,
  parseMessages,
} from '../backend/xfrm/netlink.ts';
import { type Native, NativeError, type NetlinkSocket } from '../native/native.ts';
import { type Family, type Prefix, prefixContains } from '../wire/address.ts';

/** Messages of NETLINK_NETFILTER for connection tracking (linux/netfilter/nfnetlink_conntrack.h). */
const Message = { GET: 0x101, DELETE: 0x102 } as const;
const Attribute = { ORIGINAL: 1, REPLY: 2, ZONE: 18 } as const;
const TUPLE_ADDRESSES = 1;
/** Of a tuple, by family: source and destination. */
const ADDRESSES: Readonly<Record<Family, readonly number[]>> = { 4: [1, 2], 6: [3, 4] };
const AF: Readonly<Record<Family, number>> = { 4: 2, 6: 10 };
const NESTED = 0x8000;
/** What follows a message's header: a struct nfgenmsg. */
const PREAMBLE = 4;

const { ENOENT, EINVAL, EOPNOTSUPP } = constants.errno;

/** What names a connection: its attributes, as the kernel writes them. */
type ConnectionId = readonly (readonly [type: number, value: Uint8Array])[];

/**
 * Has the kernel forget each connection that has an address of `blocks` in either direction, and with it what that was translated to: what
 * is still to be answered is nobody's then.
 * @throws NativeError; EOPNOTSUPP if the kernel does not tell of its connections
 */
export function forgetConnections(native: Native, blocks: readonly Prefix[], enter: Enter): void {
  if (blocks.length === 0) return;
  const socket = enter(() => native.openConnectionNetlink());
  try {
    for (const family of [4, 6] as const) {
      const concerned = blocks.filter((block) => block.family === family);
      if (concerned.length === 0) continue;
      for (const id of connections(socket, family, concerned)) forget(socket, family, id);
    }
  } finally {
    socket.close();
  }
}

function connections(socket: NetlinkSocket, family: Family, blocks: readonly Prefix[]): ConnectionId[] {
  const found: ConnectionId[] = [];
  const request = message(Message.GET, NetlinkFlag.DUMP, family);
  const errno = ask(socket, request.finish(), ({ body }) => {
    const attributes = parseAttributes(body, PREAMBLE);
    const tuples = [attributes.get(Attribute.ORIGINAL), attributes.get(Attribute.REPLY)];
    const isConcerned = tuples.some(
      (tuple) =>
        tuple !== undefined &&
        addressesOf(tuple, family).some((address) => blocks.some((block) => prefixContains(block, address))),
    );
    if (!isConcerned) return;
    const zone = attributes.get(Attribute.ZONE);
    found.push([
      [Attribute.ORIGINAL | NESTED, tuples[0]!],
      ...(zone === undefined ? [] : [[Attribute.ZONE, zone] as const]),
    ]);
  });
  if (errno === EINVAL || errno === EOPNOTSUPP) {
    throw new NativeError(
      'EOPNOTSUPP',
      'the kernel does not tell of the connections that it tracks: load the module (modprobe nf_conntrack_netlink)',
    );
  }
  if (errno !== 0)
    throw new NativeError(`${errno}`, `the kernel does not tell of its connections: error ${errno}`);
  return found;
}

function addressesOf(tuple: Uint8Array, family: Family): readonly Uint8Array[] {
  const addresses = parseAttributes(parseAttributes(tuple, 0).get(TUPLE_ADDRESSES) ?? new Uint8Array(), 0);
  return ADDRESSES[family].flatMap((type) => addresses.get(type) ?? []);
}

/** One that has ended meanwhile is forgotten. */
function forget(socket: NetlinkSocket, family: Family, id: ConnectionId): void {
  const request = message(Message.DELETE, NetlinkFlag.ACK, family);
  for (const [type, value] of id) {
    request.attribute(type, value.length, (view) =>
      new Uint8Array(view.buffer, view.byteOffset, value.length).set(value),
    );
  }
  const errno = ask(socket, request.finish());
  if (errno !== 0 && errno !== ENOENT)
    throw new NativeError(`${errno}`, `the kernel does not forget a connection: error ${errno}`);
}

function message(type: number, flags: number, family: Family): MessageWriter {
  return new MessageWriter(type, NetlinkFlag.REQUEST | flags, 0).structure(PREAMBLE, (view) =>
    view.setUint8(0, AF[family]),
  );
}

/** The kernel carries a request out while it is sent. @returns errno, 0 if it has been carried out */
function ask(
  socket: NetlinkSocket,
  request: Uint8Array,
  onMessage: (message: NetlinkMessage) => void = () => {},
): number {
  socket.send(request);
  for (;;) {
    const datagram = socket.receive();
    if (datagram === undefined)
      throw new NativeError('EPROTO', 'the kernel has not answered about its connections');
    for (const message of parseMessages(datagram)) {
      const isEnd = message.type === NetlinkType.ERROR || message.type === NetlinkType.DONE;
      if (isEnd) return parseAnswer(message)?.errno ?? 0;
      onMessage(message);
    }
  }
}
