import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import { type Address, addressBytes, prefixContains, prefixOf } from '../wire/address.ts';
import { type Random, shuffled } from './draw.ts';
import { type ExitNeed, letsOut } from './exit-need.ts';

/** No path can be chosen; the message says what the relays lack. */
export class SelectionError extends Error {
  override readonly name = 'SelectionError';
}

/** What a path is to be like. */
export interface PathWish {
  /** Relays in the path; 1 or more. */
  readonly length: number;
  /** What the exit has to let out: all of it. */
  readonly needs: readonly ExitNeed[];
  /** Relays to begin with, the one to try first at the beginning. */
  readonly guards: readonly RelayDescriptor[];
  /** Whether relays of one network or operator may be in one path. */
  readonly near: boolean;
  /** Whether these two may be neighbours; not if they have just failed to be. */
  readonly mayFollow?: (from: RelayDescriptor, to: RelayDescriptor) => boolean;
}

/** So many relays are looked at, for a place in a path that there may not be. */
const TRIES = 20_000;

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
  const { length, needs, guards, near, mayFollow = () => true } = wish;
  const areFit = near ? (a: RelayDescriptor, b: RelayDescriptor) => a.keyId !== b.keyId : areApart;
  const rules = { length, areFit, mayFollow, tries: { left: TRIES } };
  const exits = shuffled(
    relays.filter((relay) => relay.exit && needs.every((need) => letsOut(relay, need))),
    random,
  );
  if (exits.length === 0) throw new SelectionError(noExit(relays, needs));
  for (const exit of exits) {
    if (length === 1 && guards.some(({ keyId }) => keyId === exit.keyId)) return [exit];
    for (const guard of guards) {
      if (length === 1 || !areFit(guard, exit)) continue;
      const path = fill([guard], exit, shuffled(relays, random), rules);
      if (path !== undefined) return path;
    }
  }
  throw new SelectionError(
    `no ${length} of the ${relays.length} relays make a path: they must differ in key${near ? '' : ', operator, IPv4 /16 and IPv6 /32'}, ` +
      'begin with a guard, end with an exit, and reach each other; add relays, ask for fewer hops' +
      (near ? '' : ', or, in a laboratory, allow relays of one network (up --near)'),
  );
}

interface PathRules extends Required<Pick<PathWish, 'length' | 'mayFollow'>> {
  readonly areFit: (a: RelayDescriptor, b: RelayDescriptor) => boolean;
  readonly tries: { left: number };
}

/** Puts relays between a beginning and the exit. @returns undefined if none fit */
function fill(
  beginning: readonly RelayDescriptor[],
  exit: RelayDescriptor,
  relays: readonly RelayDescriptor[],
  rules: PathRules,
): RelayDescriptor[] | undefined {
  const { length, areFit, mayFollow } = rules;
  const last = beginning[beginning.length - 1];
  if (beginning.length + 1 === length) return mayFollow(last, exit) ? [...beginning, exit] : undefined;
  for (const relay of relays) {
    if (rules.tries.left-- <= 0) return undefined;
    if (![...beginning, exit].every((other) => areFit(relay, other)) || !mayFollow(last, relay)) continue;
    const path = fill([...beginning, relay], exit, relays, rules);
    if (path !== undefined) return path;
  }
  return undefined;
}

function noExit(relays: readonly RelayDescriptor[], needs: readonly ExitNeed[]): string {
  const exits = relays.filter(({ exit }) => exit).length;
  const wanted = needs.map(({ protocol, port }) => `${protocol} port ${port}`).join(', ') || 'anything';
  return `none of the ${relays.length} relays lets ${wanted} out: ${exits} are exits; add one whose policy accepts it`;
}
