import { CheckError } from '../checks.ts';
import { type NetworkSpec, openNetwork } from '../network.ts';
import type { Figures, Scenario } from '../scenarios.ts';
import { openBrowser } from '../web.ts';
import { openClient } from './telescope.ts';

const MEGABYTES = 3;
/** The best of so many rounds counts; of more, as long as what else the machine does keeps a telescope from what it can. */
const ROUNDS = { least: 4, most: 15 } as const;
/** Of the baseline. */
const WANTED = 0.95;

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
      const names = ['baseline', 'a', 'c', 'd'] as const;
      const telescopes = {
        baseline: await openClient(stage, 'stock', 'S', ['A', 'B', 'C']),
        a: await openClient(stage, 'xfrm', 'T', ['A', 'B', 'C']),
        c: await openClient(other, 'stock', 'S', ['A', 'B', 'C']),
        d: await openClient(other, 'xfrm', 'T', ['A', 'B', 'C']),
      };
      const open = names.map((name) => [name, openBrowser(telescopes[name])] as const);
      say('the telescopes are up');
      const best = { baseline: 0, a: 0, c: 0, d: 0 };
      const isSlow = () => names.some((name) => best[name] < WANTED * best.baseline);
      for (let round = 0; round < ROUNDS.least || (isSlow() && round < ROUNDS.most); round++) {
        for (const [name, browser] of open) best[name] = Math.max(best[name], await browser.rate(MEGABYTES));
      }
      for (const [, browser] of open) browser.close();
      for (const telescope of Object.values(telescopes)) await telescope.close();
      await network.close();
      const figures: Record<string, Figures[string]> = {};
      for (const [name, rate] of Object.entries(best)) figures[`${name} MB/s`] = round(rate);
      for (const name of names.slice(1)) figures[`${name} / baseline`] = round(best[name] / best.baseline);
      if (isSlow()) throw new CheckError(`a telescope is too slow: ${JSON.stringify(figures)}`);
      return figures;
    },
  };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
