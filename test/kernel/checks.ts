import type { Address } from '../../src/wire/address.ts';
import { type Captures, isPrivate } from './captures.ts';
import { ADDRESSES, NODES, type NodeName, RELAYS, type RelayName, type World } from './world.ts';

/** A promise that is not kept; says which, and what was seen instead. */
export class CheckError extends Error {
  override readonly name = 'CheckError';
}

/** The header of every packet that our own nodes send to others. */
const UNIFORM = { 4: 'DF TTL 64 TOS 0 ID 0', 6: 'hop limit 64 class 0 flow 0' } as const;

/**
 * What Linux makes of an IKE message of a UDP socket that has not been told otherwise: the ID or the flow label is a number of the
 * kernel's.
 */
const OF_KERNEL = { 4: 'DF TTL 64 TOS 0 ID set', 6: 'hop limit 64 class 0 flow set' } as const;

const UNMARKED = /TOS 0 |class 0 /;

/** Who is in a scenario. */
export interface Cast {
  /** Each client, and the entry of its path. */
  readonly clients: readonly {
    readonly name: 'S' | 'T';
    readonly entry: RelayName;
    /** Its client is behind it, and so ESP goes in UDP. */
    readonly isNat?: true;
  }[];
  /** The nodes that run our program: what they send has the same header whatever it carries. */
  readonly ours: readonly NodeName[];
}

/** What anybody on the way must not see. @throws CheckError */
export async function checkUnderlay(
  world: World,
  captures: Captures,
  { clients, ours }: Cast,
): Promise<void> {
  // RFC 4555 3.3: our client and its entry, who offer each other MOBIKE, speak IKE on port 4500 as soon as they can.
  const moving = clients.filter(({ name, isNat }) => isNat || ours.includes(name));
  const areEndsOf = (pairs: Cast['clients'], ends: readonly Address[]) =>
    pairs
      .map(({ name, entry }) => [name, entry].flatMap((node) => Object.values(ADDRESSES[node])))
      .some((pair) => ends.every((end) => pair.includes(end)));
  const offences = await world.offences();
  for (const [what, count] of Object.entries(offences)) {
    if (count > 0) throw new CheckError(`the Internet has seen ${count} packets: ${what}`);
  }
  for (const link of NODES) {
    for (const { source, destination, isFragment, ports, kind } of captures.packets(link)) {
      const packet = `a packet from ${source} to ${destination} on ${link}'s link`;
      if (isPrivate(source) || isPrivate(destination))
        throw new CheckError(`${packet} has a private address`);
      if (isFragment) throw new CheckError(`${packet} is a fragment`);
      if (
        kind === 'esp in UDP' &&
        !areEndsOf(
          clients.filter(({ isNat }) => isNat),
          [source, destination],
        )
      )
        throw new CheckError(`${packet} is ESP in UDP`);
      if (kind === 'ike' && ports?.includes(4500) && !areEndsOf(moving, [source, destination]))
        throw new CheckError(`${packet} has port 4500`);
    }
  }
  for (const { name, entry } of clients) {
    for (const address of Object.values(ADDRESSES[name])) {
      const seen = captures.linksWith(address).filter((link) => link !== name && link !== entry);
      if (seen.length > 0)
        throw new CheckError(`${name}'s address is to be seen on the link of ${seen.join(', ')}`);
    }
  }
  for (const name of ours) checkHeaders(name, captures);
  for (const name of RELAYS.filter((each) => !ours.includes(each))) checkNothingCopied(name, captures);
}

/** @throws CheckError if an IPv4 packet is outside of all tunnels */
export function checkOnlyIp6(captures: Captures): void {
  for (const link of NODES) {
    const other = captures.packets(link).find(({ family }) => family === 4);
    if (other !== undefined) throw new CheckError(`an IPv4 packet from ${other.source} is on ${link}'s link`);
  }
}

/** @throws CheckError */
function checkHeaders(name: NodeName, captures: Captures): void {
  const sent = ownPackets(name, captures);
  if (sent.length === 0) throw new CheckError(`${name} has sent nothing`);
  for (const { header, kind, family, destination } of sent) {
    if (header !== UNIFORM[family] && !(kind === 'ike' && header === OF_KERNEL[family]))
      throw new CheckError(`${name} has sent ${kind} to ${destination} with the header ${header}`);
  }
}

/** A router without our software: its tunnels' headers have no DSCP and no ECN of what is inside. @throws CheckError */
function checkNothingCopied(name: RelayName, captures: Captures): void {
  const marked = ownPackets(name, captures).filter(
    ({ kind, header }) => kind === 'esp' && !UNMARKED.test(header),
  );
  if (marked.length > 0) throw new CheckError(`${name} has sent ESP with the header ${marked[0].header}`);
}

/** What a node's IKE and ESP have in their headers, each form once: "esp: DF TTL 64 TOS 0 ID 0". */
export function headersOf(name: NodeName, captures: Captures): string[] {
  return [...new Set(ownPackets(name, captures).map(({ kind, header }) => `${kind}: ${header}`))].sort();
}

function ownPackets(name: NodeName, captures: Captures) {
  const own = Object.values(ADDRESSES[name]);
  return captures.packets(name).filter(({ source, kind }) => own.includes(source) && kind !== 'other');
}

/** @throws CheckError unless the values are equal */
export function expectEqual<T extends string | number | boolean>(what: string, seen: T, expected: T): void {
  if (seen !== expected) throw new CheckError(`${what} is ${seen}, not ${expected}`);
}
