import { type NetworkSpec, openNetwork } from '../network.ts';
import type { Figures, Scenario } from '../scenarios.ts';
import { openBrowser } from '../web.ts';
import { openClient } from './telescope.ts';

/** Short enough for the machine to do nothing else meanwhile, now and then. */
const MEGABYTES = 0.5;
const ROUNDS = 24;

/**
 * Downloads through four telescopes that are up at once in one guest, in turn, and compares the median of each with that of the one
 * that strongSwan alone has built. Figures: how much else the machine does is not in a test's power.
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
      const names = ['baseline', 'a', 'c', 'd'] as const;
      const telescopes = {
        baseline: await openClient(stage, 'stock', 'S', ['A', 'B', 'C']),
        a: await openClient(stage, 'xfrm', 'T', ['A', 'B', 'C']),
        c: await openClient(other, 'stock', 'S', ['A', 'B', 'C']),
        d: await openClient(other, 'xfrm', 'T', ['A', 'B', 'C']),
      };
      const open = names.map((name) => [name, openBrowser(telescopes[name])] as const);
      say('the telescopes are up');
      const rates = { baseline: [] as number[], a: [] as number[], c: [] as number[], d: [] as number[] };
      for (let round = 0; round < ROUNDS; round++)
        for (const [name, browser] of open) rates[name].push(await browser.rate(MEGABYTES));
      for (const [, browser] of open) browser.close();
      for (const telescope of Object.values(telescopes)) await telescope.close();
      await network.close();
      const figures: Record<string, Figures[string]> = {};
      for (const name of names) figures[`${name} MB/s`] = round(median(rates[name]));
      for (const name of names.slice(1))
        figures[`${name} / baseline`] = round(median(rates[name]) / median(rates.baseline));
      return figures;
    },
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
