import { Captures } from '../captures.ts';
import { checkUnderlay } from '../checks.ts';
import { startRelays } from '../relays.ts';
import type { Scenario } from '../scenarios.ts';
import { serveWeb } from '../web.ts';
import { expectFiles, openClient } from './telescope.ts';

/** Two clients at once, who look the same to the relays, and whose paths have relays and an overlay in common. */
export const crossingPaths: Scenario = {
  title: 'two clients with crossing paths at once: S-A-B-C and T-C-A-B',
  async run(world, { root, say }) {
    await serveWeb(world);
    const captures = new Captures(world);
    const relays = await startRelays(world, { A: 'stock', B: 'stock', C: 'stock' }, { root });
    say('the relays are up');
    const [s, t] = await Promise.all([
      openClient(world, 'userspace', 'S', ['A', 'B', 'C'], relays, root),
      openClient(world, 'userspace', 'T', ['C', 'A', 'B'], relays, root),
    ]);
    say('the telescopes are up');
    for (let round = 0; round < 2; round++)
      await Promise.all([expectFiles(s, relays, 'C'), expectFiles(t, relays, 'B')]);
    const clients = [
      { name: 'S', entry: 'A' },
      { name: 'T', entry: 'C' },
    ] as const;
    await checkUnderlay(world, captures, { clients, ours: ['S', 'T'] });
    captures.close();
    await s.close();
    await expectFiles(t, relays, 'B');
    await t.close();
    return {};
  },
};
