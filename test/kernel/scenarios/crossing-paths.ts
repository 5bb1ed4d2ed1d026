import { Captures } from '../captures.ts';
import { checkUnderlay } from '../checks.ts';
import type { NetworkSpec } from '../network.ts';
import type { Scenario } from '../scenarios.ts';
import { openBrowser } from '../web.ts';
import { type ClientKind, expectFiles, openClient, ourRelays } from './telescope.ts';

/** Two clients at once, who look the same to the relays, and whose paths have relays and an overlay in common. */
export function crossingPaths(network: NetworkSpec, kind: ClientKind): Scenario {
  return {
    title: `two clients with crossing paths at once: S-A-B-C and T-C-A-B (${kind})`,
    network,
    async run(stage) {
      const { world, relays, say } = stage;
      const captures = new Captures(world);
      const [s, t] = await Promise.all([
        openClient(stage, kind, 'S', ['A', 'B', 'C']),
        openClient(stage, kind, 'T', ['C', 'A', 'B']),
      ]);
      say('the telescopes are up');
      const [ofS, ofT] = [openBrowser(s), openBrowser(t)];
      for (let round = 0; round < 2; round++)
        await Promise.all([expectFiles(ofS, relays.C), expectFiles(ofT, relays.B)]);
      const clients = [
        { name: 'S', entry: 'A' },
        { name: 'T', entry: 'C' },
      ] as const;
      await checkUnderlay(world, captures, { clients, ours: ['S', 'T', ...ourRelays(relays)] });
      captures.close();
      ofS.close();
      await s.close();
      await expectFiles(ofT, relays.B);
      ofT.close();
      await t.close();
      return {};
    },
  };
}
