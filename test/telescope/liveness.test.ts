import { expect, it } from 'vitest';
import type { TelescopeError } from '../../src/telescope/errors.ts';
import { watchLiveness } from '../../src/telescope/liveness.ts';
import type { Hop } from '../../src/telescope/telescope.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

/** A hop whose IKE SA stays alive, whatever becomes of its Child SA. */
function livingHop(name: string) {
  const connection = {
    child: {} as object | undefined,
    closed: new Promise<undefined>(() => {}),
    checks: 0,
    async checkLiveness() {
      this.checks++;
      return true;
    },
  };
  const hop = { relay: { name }, connection, tunnel: { counters: {} } };
  return { connection, hop: hop as unknown as Hop };
}

it('reports the outermost hop whose IKE SA has lost its Child SA', async () => {
  const clock = new VirtualClock();
  const [a, b, c] = ['a', 'b', 'c'].map(livingHop);
  const reported: TelescopeError[] = [];
  watchLiveness(
    [a.hop, b.hop, c.hop],
    clock,
    () => Uint8Array.of(128),
    (error) => reported.push(error),
  );
  await clock.advance(120_000);
  expect(reported).toEqual([]);
  b.connection.child = undefined;
  c.connection.child = undefined;
  await clock.advance(60_000);
  expect(reported.map(({ message }) => message)).toEqual([
    'hop 2 (b): keeping the tunnel: the relay closed the tunnel',
  ]);
  const { checks } = a.connection;
  await clock.advance(120_000);
  expect(a.connection.checks).toBe(checks);
});
