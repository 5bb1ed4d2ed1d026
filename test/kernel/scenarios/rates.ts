import { type NetworkSpec, openNetwork } from '../network.ts';
import type { Figures, Scenario } from '../scenarios.ts';
import { downloadRate } from '../web.ts';
import { openClient } from './telescope.ts';

const ROUNDS = 5;
const MEGABYTES = 3;

/**
 * Downloads through four telescopes that are up at once in one guest, in turn, and compares the best of each with the best of the
 * one that strongSwan alone has built.
 */
export function rates(stock: NetworkSpec, ours: NetworkSpec): Scenario {
  return {
    title: 'downloads through telescopes of the kernel, compared with those that strongSwan builds',
    network: stock,
    async run(stage) {
      const { root, say } = stage;
      const network = await openNetwork(ours, root);
      const other = { ...stage, ...network };
      // Two telescopes from one host to one entry cannot be told apart by their devices.
      const telescopes = {
        baseline: await openClient(stage, 'stock', 'S', ['A', 'B', 'C']),
        a: await openClient(stage, 'xfrm', 'T', ['A', 'B', 'C']),
        c: await openClient(other, 'stock', 'S', ['A', 'B', 'C']),
        d: await openClient(other, 'xfrm', 'T', ['A', 'B', 'C']),
      };
      say('the telescopes are up');
      const best: Record<string, number> = {};
      for (let round = 0; round < ROUNDS; round++) {
        for (const [name, telescope] of Object.entries(telescopes))
          best[name] = Math.max(best[name] ?? 0, await downloadRate(telescope, MEGABYTES));
      }
      for (const telescope of Object.values(telescopes)) await telescope.close();
      await network.close();
      const figures: Record<string, number> = {};
      for (const [name, rate] of Object.entries(best)) figures[`${name} MB/s`] = round(rate);
      for (const name of ['a', 'c', 'd']) figures[`${name} / baseline`] = round(best[name] / best.baseline);
      return figures satisfies Figures;
    },
  };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
