import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import { type Address, addressBytes, prefixContains, prefixOf } from '../wire/address.ts';
import { type Random, shuffled } from './draw.ts';
import { type ExitNeed, letsOut } from './exit-need.ts';

/** No path can be chosen; the message says what the relays lack. */
export class SelectionError extends Error {
  override readonly name = 'SelectionError';
}

export interface PathWish {
  /** Relays in the path; 1 or more. */
  readonly length: number;
  /** What the exit has to let out: all of it. */
  readonly needs: readonly ExitNeed[];
  /** Relays to begin with, the one to try first at the beginning. */
  readonly guards: readonly RelayDescriptor[];
  /** Whether these two may be neighbours; not if they have just failed to be. */
  readonly mayFollow?: (from: RelayDescriptor, to: RelayDescriptor) => boolean;
}

/** Two relays whose addresses agree in so many bits are taken to be one operator's. */
const NETWORK = { ip4: 16, ip6: 32 } as const;

/**
 * Whether both may be in one path: they have different keys, do not name the same operator, and no two of their addresses are
 * in one IPv4 /16 or IPv6 /32.
 */
export function areApart(a: RelayDescriptor, b: RelayDescriptor): boolean {
  if (a.keyId === b.keyId) return false;
  if (a.operator !== undefined && a.operator === b.operator) return false;
  return (['ip4', 'ip6'] as const).every((family) => {
    const [one, other] = [a.addresses[family], b.addresses[family]];
    return one === undefined || other === undefined || !areNear(one, other, NETWORK[family]);
  });
}

function areNear(one: Address, other: Address, length: number): boolean {
  return prefixContains(prefixOf(one, length), addressBytes(other));
}

/**
 * Chooses a path: the exit at random among those whose policy allows it, then the first guard that goes with it, then the relays
 * between them at random.
 * @throws SelectionError
 */
export function choosePath(
  relays: readonly RelayDescriptor[],
  wish: PathWish,
  random: Random,
): RelayDescriptor[] {
  const { length, needs, guards, mayFollow = () => true } = wish;
  const exits = shuffled(
    relays.filter((relay) => needs.every((need) => letsOut(relay, need))),
    random,
  );
  if (exits.length === 0) throw new SelectionError(noExit(relays, needs));
  for (const exit of exits) {
    for (const guard of length === 1 ? [exit] : guards) {
      const ends = length === 1 ? [exit] : [guard, exit];
      const isGuard = guards.some(({ keyId }) => keyId === ends[0].keyId);
      if (!isGuard || (length > 1 && !areApart(guard, exit))) continue;
      const path = fill(ends.slice(0, 1), ends.slice(1), shuffled(relays, random), length, mayFollow);
      if (path !== undefined) return path;
    }
  }
  throw new SelectionError(
    `no ${length} of the ${relays.length} relays make a path: they must differ in key, operator, IPv4 /16 and IPv6 /32, ` +
      'begin with a guard, end with an exit, and reach each other; add relays, or ask for fewer hops',
  );
}

/** Puts relays between a beginning and an end. @returns undefined if none fit */
function fill(
  beginning: RelayDescriptor[],
  end: readonly RelayDescriptor[],
  relays: readonly RelayDescriptor[],
  length: number,
  mayFollow: (from: RelayDescriptor, to: RelayDescriptor) => boolean,
): RelayDescriptor[] | undefined {
  const last = beginning[beginning.length - 1];
  if (beginning.length + end.length === length) {
    return end.length === 0 || mayFollow(last, end[0]) ? [...beginning, ...end] : undefined;
  }
  for (const relay of relays) {
    if (![...beginning, ...end].every((other) => areApart(relay, other)) || !mayFollow(last, relay)) continue;
    const path = fill([...beginning, relay], end, relays, length, mayFollow);
    if (path !== undefined) return path;
  }
  return undefined;
}

function noExit(relays: readonly RelayDescriptor[], needs: readonly ExitNeed[]): string {
  const exits = relays.filter(({ exit }) => exit).length;
  const wanted = needs.map(({ protocol, port }) => `${protocol} port ${port}`).join(', ');
  return `none of the ${relays.length} relays lets ${wanted} out: ${exits} are exits; add one whose policy accepts it`;
}
