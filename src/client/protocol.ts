import { z } from 'zod';

/*
 * What the launcher and the process inside the namespace say to each other, over an IPC channel that nobody else has.
 */

const address = z.string();
const octets = z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'not octets');
const family = z.union([z.literal(4), z.literal(6)]);
const prefix = z.object({
  family,
  bytes: octets,
  length: z.int(),
});

const relay = z.object({
  name: z.string(),
  publicKey: octets,
  addresses: z.object({ ip4: address.optional(), ip6: address.optional() }),
  pools: z.object({ ip4: prefix.optional(), ip6: prefix.optional() }),
  overlayMtu: z.int(),
  publicSharedKey: z.string().optional(),
});

const innerMtu = z.union([z.literal('max'), z.int()]);

/** The host's side of the first hop: the client's address at first, the entry's, the MTU, and what its inherited sockets are bound to. */
const host = z.object({
  address,
  entry: address,
  mtu: z.int(),
  ikePort: z.int(),
  encapsulatedPort: z.int(),
  rawEsp: z.boolean(),
});

const port = z.int().min(0).max(65_535);
/** A SOCKS client's, with a number that the launcher has chosen, and what it wants to reach. */
const flow = { id: z.int(), target: z.union([address, z.object({ name: z.string() })]) };

const order = z.discriminatedUnion('type', [
  /** Builds the telescope. `tunInherited`: the TUN device is open already (`Fd.tun`). */
  z.object({
    type: z.literal('extend'),
    path: z.array(relay).min(1),
    host,
    encapsulated: z.boolean(),
    /** The kernel carries the hops (`Fd.hostNetwork`), not this process. */
    kernel: z.boolean(),
    innerMtu,
    /** Of the address that the exit assigns. */
    family: family.optional(),
    hopTimeout: z.number(),
    tunInherited: z.boolean(),
    /** A directory for the keys of every hop. */
    keyLog: z.string().optional(),
  }),
  /** Runs a command in it, once it is established; the telescope is closed when the command has ended. */
  z.object({ type: z.literal('run'), command: z.array(z.string()).min(1) }),
  /** Connects the SOCKS client whose connection comes with it, once it is established. */
  z.object({ type: z.literal('connect'), ...flow, port, rest: octets }),
  /** Comes with the UDP socket of a SOCKS client; `associate` comes next, with its connection. */
  z.object({ type: z.literal('associate-socket'), id: z.int() }),
  /** Relays datagrams of the SOCKS client for as long as its connection is open. `bound`: where it is to send them; `port`: from where. */
  z.object({ type: z.literal('associate'), id: z.int(), port, bound: z.object({ host: address, port }) }),
  /** Ends the command (with SIGTERM; the second time with SIGKILL) and closes the telescope. */
  z.object({ type: z.literal('close') }),
]);

const event = z.discriminatedUnion('event', [
  /** The process inside is running and takes orders. */
  z.object({ event: z.literal('ready') }),
  z.object({ event: z.literal('extending'), hop: z.int(), relay: z.string() }),
  z.object({
    event: z.literal('hop'),
    hop: z.int(),
    relay: z.string(),
    /** The address that the hop was built from. */
    source: address,
    assigned: z.array(address),
    /** Octets that the tunnel carries at most. */
    mtu: z.int(),
    roundTrips: z.int(),
    milliseconds: z.number(),
  }),
  z.object({
    event: z.literal('established'),
    interface: z.string(),
    addresses: z.array(address),
    mtu: z.int(),
    dns: z.array(address),
  }),
  /** The command has ended, with this status (128 + signal number); `reason` if it could not be started. */
  z.object({ event: z.literal('exited'), status: z.int(), reason: z.string().optional() }),
  /** What came with an order about a SOCKS client is here; the next may come. */
  z.object({ event: z.literal('flow-taken') }),
  /** A SOCKS client's connection is over. */
  z.object({ event: z.literal('flow-closed'), id: z.int() }),
  z.object({ event: z.literal('hop-closed'), hop: z.int(), relay: z.string() }),
  /** The last event after success: everything is closed. */
  z.object({ event: z.literal('closed') }),
  /** The last event otherwise: everything is closed that could be. */
  z.object({
    event: z.literal('error'),
    /** `telescope`: a hop could not be built or was lost. `system`: this machine did not do its part. */
    kind: z.enum(['telescope', 'system', 'internal']),
    message: z.string(),
    hop: z.int().optional(),
    relay: z.string().optional(),
    action: z.string().optional(),
  }),
]);

/** What the launcher asks of the process inside. */
export type Order = z.infer<typeof order>;
export type ExtendOrder = Extract<Order, { type: 'extend' }>;
export type FlowOrder = Extract<Order, { type: 'connect' | 'associate-socket' | 'associate' }>;

/** What the process inside reports. Addresses are text, times in milliseconds, MTUs in octets. */
export type ClientEvent = z.infer<typeof event>;
export type ClientErrorEvent = Extract<ClientEvent, { event: 'error' }>;

/** @throws ZodError for anything that is not an order */
export function parseOrder(message: unknown): Order {
  return order.parse(message);
}

/** @throws ZodError for anything that is not an event */
export function parseEvent(message: unknown): ClientEvent {
  return event.parse(message);
}

/** The file descriptors that the process inside is born with. */
export const Fd = { ipc: 3, ike: 4, encapsulated: 5, rawEsp: 6, tun: 7, route: 8, hostNetwork: 9 } as const;

/** The TUN device, in a namespace where there is no other. */
export const TUN_NAME = 'tun0';
