import { Captures } from '../captures.ts';
import { checkUnderlay, expectEqual } from '../checks.ts';
import { answerAtServer, checkMtu } from '../mtu.ts';
import { openOurClient } from '../our-client.ts';
import type { Scenario } from '../scenarios.ts';
import { startStockRelays, stockHop } from '../stock-relays.ts';
import { downloadRate, fetchThrough, serveWeb } from '../web.ts';
import { ADDRESSES, RELAYS } from '../world.ts';

/** What the paper claims: relays need no new software. */
export const userSpaceThroughStock: Scenario = {
  title: 'our client, user-space backend, through three stock strongSwan relays',
  async run(world, { root, say }) {
    await serveWeb(world);
    answerAtServer(world);
    const captures = new Captures(world);
    const { keys } = await startStockRelays(world, root);
    say('relays');
    const client = await openOurClient(world, {
      client: 'S',
      path: RELAYS.map((name) => stockHop(name, keys)),
    });
    say('client');
    const { peer } = await fetchThrough(client, { down: 500_000, up: 200_000 });
    expectEqual('the address that D sees', peer, ADDRESSES.C.ip4);
    say('fetched');
    await checkMtu(client, 1334);
    say('mtu');
    await checkUnderlay(world, captures, { clients: [{ name: 'S', entry: 'A' }], ours: ['S'] });
    captures.close();
    const rate = await downloadRate(client, 4, 2);
    say('rate');
    await client.close();
    return { 'download MB/s': rate };
  },
};
