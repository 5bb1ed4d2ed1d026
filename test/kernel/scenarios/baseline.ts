import { Captures } from '../captures.ts';
import { checkUnderlay, expectEqual, headersOf } from '../checks.ts';
import { answerAtServer, checkMtu } from '../mtu.ts';
import type { Scenario } from '../scenarios.ts';
import { openStockClient } from '../stock-client.ts';
import { startStockRelays } from '../stock-relays.ts';
import { downloadRate, fetchThrough, serveWeb } from '../web.ts';
import { ADDRESSES, RELAYS } from '../world.ts';

/** What our own telescopes are measured by. */
export const baseline: Scenario = {
  title: "strongSwan's client through three stock strongSwan relays",
  async run(world, { root, say }) {
    await serveWeb(world);
    answerAtServer(world);
    const captures = new Captures(world);
    const { keys } = await startStockRelays(world, root);
    say('relays');
    const client = await openStockClient(world, { root, client: 'S', path: RELAYS, keys });
    say('client');
    const { peer } = await fetchThrough(client, { down: 500_000, up: 200_000 });
    expectEqual('the address that D sees', peer, ADDRESSES.C.ip4);
    say('fetched');
    await checkMtu(client, 1334);
    say('mtu');
    await checkUnderlay(world, captures, { clients: [{ name: 'S', entry: 'A' }], ours: [] });
    const headers = headersOf('A', captures);
    captures.close();
    const rate = await downloadRate(client, 8, 3);
    say('rate');
    await client.close();
    return { 'download MB/s': rate, 'headers of A': headers.join('; ') };
  },
};
