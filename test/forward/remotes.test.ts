import { describe, expect, it } from 'vitest';
import { MAX_REMOTES, MAX_REMOTES_PER_CLIENT, Remotes } from '../../src/forward/remotes.ts';

describe('the remotes of clients', () => {
  it('are kept apart, and forgotten with the client', () => {
    const remotes = new Remotes();
    remotes.add(1, 100);
    expect([remotes.has(1, 100), remotes.has(1, 101), remotes.has(2, 100)]).toEqual([true, false, false]);
    remotes.release(1);
    expect(remotes.has(1, 100)).toBe(false);
  });

  it('are bounded: the one written to the longest time ago goes first', () => {
    const remotes = new Remotes();
    for (let remote = 0; remote < MAX_REMOTES_PER_CLIENT; remote++) remotes.add(1, remote);
    remotes.add(1, 0);
    remotes.add(1, MAX_REMOTES_PER_CLIENT);
    expect([0, 1, 2, MAX_REMOTES_PER_CLIENT].map((remote) => remotes.has(1, remote))).toEqual([
      true,
      false,
      true,
      true,
    ]);
  });

  it('share the whole evenly when clients are many, and shut none out', () => {
    const remotes = new Remotes();
    const write = (client: number, count: number) => {
      for (let remote = 0; remote < count; remote++) remotes.add(client, remote);
    };
    for (let client = 0; client < 64; client++) write(client, MAX_REMOTES_PER_CLIENT);
    for (let client = 64; client < 256; client++) write(client, 1);
    expect(remotes.has(255, 0)).toBe(true);
    write(0, 1_000);
    const kept = Array.from({ length: MAX_REMOTES_PER_CLIENT }, (_, remote) => remote).filter((remote) =>
      remotes.has(0, remote),
    );
    expect(kept).toHaveLength(MAX_REMOTES / 256);
  });
});
