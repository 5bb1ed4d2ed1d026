import { describe, expect, it } from 'vitest';
import { BuildError, type KeeperEvent, TelescopeKeeper } from '../../src/client/telescope-keeper.ts';
import type { RelayDescriptor } from '../../src/descriptor/descriptor.ts';
import { fixedRelaySet } from '../../src/descriptor/relay-set.ts';
import { BuildTimeouts } from '../../src/select/build-timeouts.ts';
import { Guards } from '../../src/select/guards.ts';
import { SelectionError } from '../../src/select/paths.ts';
import { chance, relay } from '../select/relays.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const MINUTE = 60_000;
const WEB = [{ protocol: 'tcp', port: 443 }] as const;
const RELAYS = Array.from({ length: 12 }, (_, index) => relay(index));

/** A telescope that was asked for; the test says what becomes of it. */
interface Asked {
  readonly path: readonly RelayDescriptor[];
  succeed(): void;
  fail(hop: number): void;
  readonly aborted: boolean;
  readonly flows: { readonly name: string; end(): void }[];
  closed: boolean;
  die(): void;
}

function open(relays = RELAYS, build: (asked: Asked) => void = (asked) => asked.succeed()) {
  const clock = new VirtualClock();
  const asked: Asked[] = [];
  const events: KeeperEvent[] = [];
  const guards = new Guards(undefined, chance('guards'));
  const keeper = new TelescopeKeeper<string>({
    relays: fixedRelaySet(relays),
    guards,
    timeouts: new BuildTimeouts(),
    clock,
    wallClock: () => 1_800_000_000_000 + clock.now(),
    random: chance('keeper'),
    length: 3,
    near: false,
    onLearnt: () => {},
    onEvent: (event) => events.push(event),
    build: (path, signal) =>
      new Promise((resolve, reject) => {
        let die = () => {};
        const ended = new Promise<void>((end) => {
          die = end;
        });
        const each: Asked = {
          path,
          flows: [],
          closed: false,
          get aborted() {
            return signal.aborted;
          },
          fail: (hop) => reject(new BuildError('no answer', hop)),
          die,
          succeed: () =>
            resolve({
              ended,
              carry: (name) => new Promise((end) => each.flows.push({ name, end })),
              close() {
                each.closed = true;
                die();
              },
            }),
        };
        signal.addEventListener('abort', () => reject(new BuildError('took too long', undefined)));
        asked.push(each);
        build(each);
      }),
  });
  const carrierOf = (name: string) => asked.find(({ flows }) => flows.some((flow) => flow.name === name))!;
  const living = () => asked.filter(({ closed }) => !closed);
  return { clock, keeper, asked, events, guards, carrierOf, living };
}

describe('TelescopeKeeper', () => {
  it('has two ready before anybody wants them, the second some time after the first', async () => {
    const { clock, keeper, asked } = open();
    await clock.advance(0);
    expect(asked).toHaveLength(1);
    await clock.advance(10_000);
    expect(keeper.counts).toEqual({ ready: 2, used: 0 });
    await clock.advance(5 * MINUTE);
    expect(asked).toHaveLength(2);
  });

  it('gives flows of one isolation one telescope, and others another, and replaces what was taken', async () => {
    const { clock, keeper, carrierOf } = open();
    await clock.advance(MINUTE);
    for (const [name, isolation] of [
      ['a1', 'a'],
      ['b1', 'b'],
      ['a2', 'a'],
      ['c1', 'c'],
    ]) {
      void keeper.carry(name, isolation, WEB);
      await clock.advance(0);
    }
    await clock.advance(MINUTE);
    expect(carrierOf('a2')).toBe(carrierOf('a1'));
    expect(new Set(['a1', 'b1', 'c1'].map(carrierOf)).size).toBe(3);
    expect(keeper.counts).toEqual({ ready: 2, used: 3 });
  });

  it('takes new flows for eight to twelve minutes, and closes after the last has ended', async () => {
    const { clock, keeper, carrierOf } = open();
    await clock.advance(MINUTE);
    void keeper.carry('old', 'a', WEB);
    await clock.advance(7.9 * MINUTE);
    void keeper.carry('young', 'a', WEB);
    await clock.advance(4.2 * MINUTE);
    void keeper.carry('new', 'a', WEB);
    await clock.advance(0);
    expect(carrierOf('young')).toBe(carrierOf('old'));
    expect(carrierOf('new')).not.toBe(carrierOf('old'));
    const { flows } = carrierOf('old');
    flows[0].end();
    await clock.advance(0);
    expect(carrierOf('old').closed).toBe(false);
    flows[1].end();
    await clock.advance(0);
    expect(carrierOf('old').closed).toBe(true);
  });

  it('replaces those that nobody uses after ten to twenty minutes', async () => {
    const { clock, asked, living } = open();
    await clock.advance(9 * MINUTE);
    expect(asked.map(({ closed }) => closed)).toEqual([false, false]);
    await clock.advance(12 * MINUTE);
    expect(asked.slice(0, 2).map(({ closed }) => closed)).toEqual([true, true]);
    expect(living()).toHaveLength(2);
  });

  it('builds one for what those that are ready do not let out', async () => {
    const relays = RELAYS.map((each, index) => (index < 2 ? { ...each, exitPolicy: ['accept *:25'] } : each));
    const { clock, keeper, carrierOf } = open(relays);
    await clock.advance(MINUTE);
    void keeper.carry('mail', 'a', [{ protocol: 'tcp', port: 25 }]);
    await clock.advance(0);
    expect(carrierOf('mail').path[2].exitPolicy).toEqual(['accept *:25']);
  });

  it('has all flows of one isolation wait for one telescope', async () => {
    const waiting: Asked[] = [];
    const { clock, keeper, carrierOf } = open(RELAYS, (each) => waiting.push(each));
    for (const name of ['one', 'two', 'three']) void keeper.carry(name, 'a', WEB);
    void keeper.carry('other', 'b', WEB);
    await clock.advance(0);
    expect(waiting).toHaveLength(2);
    for (const each of waiting) each.succeed();
    await clock.advance(0);
    expect(new Set(['one', 'two', 'three'].map(carrierOf)).size).toBe(1);
    expect(carrierOf('other')).not.toBe(carrierOf('one'));
  });

  it('says that nobody lets something out', async () => {
    const closed = RELAYS.map((each) => ({ ...each, exitPolicy: ['accept *:443'] }));
    const { keeper } = open(closed);
    await expect(keeper.carry('mail', 'a', [{ protocol: 'tcp', port: 25 }])).rejects.toThrow(SelectionError);
  });

  it('begins at another relay when the first does not answer, and comes back to it when others do', async () => {
    const { clock, asked } = open(RELAYS, (each) => {
      if (asked.length === 1) each.fail(1);
      else each.succeed();
    });
    await clock.advance(MINUTE);
    const [first, second, third] = asked.map(({ path }) => path[0].name);
    expect(second).not.toBe(first);
    expect(third).toBe(first);
  });

  it('does not try two relays that could not be connected', async () => {
    const relays = RELAYS.slice(0, 4).map((each, index) => ({ ...each, exit: index === 3 }));
    const pairs: string[] = [];
    const { clock } = open(relays, ({ path, fail }) => {
      pairs.push(`${path[1].name} ${path[2].name}`);
      fail(3);
    });
    await clock.advance(1_500);
    expect(pairs.length).toBeGreaterThan(1);
    expect(pairs[1]).not.toBe(pairs[0]);
  });

  it('waits longer and longer while nothing can be built', async () => {
    const { clock, asked, events } = open(RELAYS, (each) => each.fail(2));
    await clock.advance(10 * MINUTE);
    expect(asked.length).toBeGreaterThan(8);
    expect(asked.length).toBeLessThan(40);
    expect(events[0]).toEqual({ event: 'failed', hop: 2 });
  });

  it('gives up what takes too long', async () => {
    const { clock, asked } = open(RELAYS, () => {});
    await clock.advance(MINUTE + 1);
    expect(asked[0].aborted).toBe(true);
  });

  it('lets a flow fail after three telescopes that could not be built', async () => {
    const { keeper, asked } = open(RELAYS, (each) => each.fail(3));
    await expect(keeper.carry('flow', 'a', WEB)).rejects.toThrow('no answer');
    expect(asked).toHaveLength(3);
  });

  it('gives a flow that waits whatever is ready first', async () => {
    const waiting: Asked[] = [];
    const { clock, keeper, carrierOf } = open(RELAYS, (each) => waiting.push(each));
    void keeper.carry('flow', 'a', WEB);
    await clock.advance(11_000);
    expect(waiting).toHaveLength(2);
    waiting[1].succeed();
    await clock.advance(0);
    expect(carrierOf('flow')).toBe(waiting[1]);
  });

  it('does not end the wait of a flow for what another of its isolation cannot have', async () => {
    const relays = RELAYS.map((each) => ({ ...each, exitPolicy: ['accept *:443'] }));
    const { clock, keeper, carrierOf } = open(relays);
    const refused = keeper.carry('mail', 'a', [{ protocol: 'tcp', port: 25 }]);
    void keeper.carry('web', 'a', WEB);
    await expect(refused).rejects.toThrow(SelectionError);
    await clock.advance(0);
    expect(carrierOf('web')).toBeDefined();
  });

  it('ends after three failures also if others have succeeded before', async () => {
    let good = 0;
    const { keeper, clock } = open(RELAYS, (each) => (good-- > 0 ? each.succeed() : each.fail(2)));
    await clock.advance(0);
    for (let round = 0; round < 4; round++) {
      good = 1;
      void keeper.carry(`flow ${round}`, `user ${round}`, WEB);
      await clock.advance(0);
    }
    good = 0;
    await expect(keeper.carry('last', 'another', WEB)).rejects.toThrow('no answer');
  });

  it('asks more and more seldom while no path can be chosen', async () => {
    const { clock, events } = open(RELAYS.map((each) => ({ ...each, operator: 'one' })));
    await clock.advance(10 * MINUTE);
    expect(events.length).toBeGreaterThan(5);
    expect(events.length).toBeLessThan(40);
    expect(events[0]).toMatchObject({ event: 'failed', message: expect.stringContaining('must differ') });
  });

  it('is content with an exit for one of the ports that everybody wants', async () => {
    const relays = RELAYS.map((each, index) => ({
      ...each,
      exitPolicy: [`accept *:${index % 2 ? 80 : 443}`],
    }));
    const { clock, keeper } = open(relays);
    await clock.advance(MINUTE);
    expect(keeper.counts.ready).toBe(2);
  });

  it('replaces a telescope that was lost, and gives its isolation another', async () => {
    const { clock, keeper, carrierOf } = open();
    await clock.advance(MINUTE);
    void keeper.carry('before', 'a', WEB);
    await clock.advance(0);
    carrierOf('before').die();
    await clock.advance(0);
    void keeper.carry('after', 'a', WEB);
    await clock.advance(MINUTE);
    expect(carrierOf('after')).not.toBe(carrierOf('before'));
    expect(keeper.counts).toEqual({ ready: 2, used: 1 });
  });

  it('has no more than sixteen', async () => {
    const { clock, keeper } = open();
    await clock.advance(MINUTE);
    for (let user = 0; user < 16; user++) {
      void keeper.carry(`flow ${user}`, `user ${user}`, WEB);
      await clock.advance(0);
    }
    await expect(keeper.carry('one more', 'another user', WEB)).rejects.toThrow(/16 telescopes already/);
  });

  it('closes all of them, and leaves no timer', async () => {
    const { clock, keeper, asked } = open(RELAYS, (each) => {
      if (asked.length < 2) each.succeed();
    });
    await clock.advance(MINUTE / 2);
    const closed = keeper.close();
    await clock.advance(0);
    await closed;
    expect(asked.map((each) => each.closed || each.aborted)).toEqual(asked.map(() => true));
    await clock.advance(0);
    expect(clock.pending).toBe(0);
  });
});
