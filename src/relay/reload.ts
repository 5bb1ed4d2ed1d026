import { isDeepStrictEqual } from 'node:util';
import type { RelayConfig } from './config.ts';

/** A configuration that a running relay cannot take on; it goes on with the one that it has. */
export class ReloadError extends Error {
  override readonly name = 'ReloadError';
}

type Key = readonly [name: string, value: (config: RelayConfig) => unknown];

/** What a relay takes on while it runs. */
const CHANGEABLE: readonly Key[] = [
  ['operator', ({ own }) => own.operator],
  ['peers', ({ peers }) => peers],
  ['exit.policy', ({ exit }) => exit?.policy],
  ['dns', ({ dns }) => dns],
  ['publicSharedKey', ({ publicSharedKey }) => publicSharedKey],
  ['maxClients', ({ maxClients }) => maxClients],
  ['maxHalfOpen', ({ maxHalfOpen }) => maxHalfOpen],
  ['maxHalfOpenPer', ({ maxHalfOpenPer }) => maxHalfOpenPer],
  ['cookieThreshold', ({ cookieThreshold }) => cookieThreshold],
  ['puzzleThreshold', ({ puzzles }) => puzzles.threshold],
  ['puzzleDifficulty', ({ puzzles }) => puzzles.difficulty],
];

/** What clients, peers or the host hold on to. */
const FIXED: readonly Key[] = [
  ['name', ({ own }) => own.name],
  ['key', ({ own }) => own.keyId],
  ['address', ({ own }) => own.addresses],
  ['pool', ({ own }) => own.pools],
  ['overlayMtu', ({ own }) => own.overlayMtu],
  ['exit', ({ exit }) => exit === undefined],
  ['exit.kind', ({ exit }) => exit?.kind],
  ['exit.address', ({ exit }) => exit?.addresses],
  ['backend', ({ backend }) => backend],
  ['ikePort', ({ ikePort }) => ikePort],
  ['encapsulatedPort', ({ encapsulatedPort }) => encapsulatedPort],
  ['mtu', ({ mtu }) => mtu],
  ['encapsulation', ({ encapsulatedOnly }) => encapsulatedOnly],
  ['control', ({ control }) => control],
  ['metrics', ({ metrics }) => metrics],
];

/**
 * The keys of relay.yaml that change.
 * @param fixed - further keys that need a restart
 * @throws ReloadError naming those that need a restart
 */
export function changedKeys(
  before: RelayConfig,
  after: RelayConfig,
  fixed: readonly string[],
): readonly string[] {
  const differing = (keys: readonly Key[]) =>
    keys.filter(([, value]) => !isDeepStrictEqual(value(before), value(after))).map(([name]) => name);
  const refused = differing(FIXED);
  // An exit that comes or goes is one change, whatever is under it.
  const changed = differing(CHANGEABLE).filter((key) => !(refused.includes('exit') && key === 'exit.policy'));
  const named = refused.filter((key) => !(refused.includes('exit') && key.startsWith('exit.')));
  const needRestart = [...named, ...changed.filter((key) => fixed.includes(key))];
  if (needRestart.length > 0) {
    throw new ReloadError(
      `nothing was changed: restart the relay for ${needRestart.join(', ')}, or take that back and reload again`,
    );
  }
  return changed;
}
