import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClientState, StateError } from '../../src/client/client-state.ts';
import { chance, relay } from '../select/relays.ts';

const NOW = 1_800_000_000_000;
const RELAYS = Array.from({ length: 30 }, (_, index) => relay(index));

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'ike-telescope-state-'));
});
afterEach(() => rmSync(parent, { recursive: true }));

describe('ClientState', () => {
  it('keeps guards and build times, for their owner alone', () => {
    const directory = join(parent, 'a', 'b');
    const state = new ClientState(directory, chance('one'));
    const chosen = state.guards.choose(RELAYS, NOW);
    state.guards.succeeded(chosen[1].keyId, NOW);
    state.timeouts.built(3, 1_234);
    state.save();
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(readdirSync(directory).sort()).toEqual(['build-times.json', 'guards.json']);
    for (const file of readdirSync(directory))
      expect(statSync(join(directory, file)).mode & 0o777).toBe(0o600);
    const again = new ClientState(directory, chance('other'));
    expect(again.guards.choose(RELAYS, NOW)).toEqual(state.guards.choose(RELAYS, NOW));
    expect(again.timeouts.state.times).toEqual([1_230]);
  });

  it('does not begin anew, with other guards, because a file is damaged', () => {
    writeFileSync(join(parent, 'guards.json'), '{"version":1,"gua');
    const open = () => new ClientState(parent, chance('damaged'));
    expect(open).toThrow(StateError);
    expect(open).toThrow(/guards\.json: is not what ike-telescope writes; delete it to begin anew/);
  });

  it('says what cannot be made or written', () => {
    writeFileSync(join(parent, 'file'), '');
    expect(() => new ClientState(join(parent, 'file', 'state'), chance('no'))).toThrow(
      /no directory .* ENOTDIR/,
    );
    const state = new ClientState(join(parent, 'gone'), chance('gone'));
    rmSync(join(parent, 'gone'), { recursive: true });
    expect(() => state.save()).toThrow(/guards\.json: cannot be written: ENOENT/);
  });
});
