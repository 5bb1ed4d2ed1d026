import { blockOf, prefixOf, type Remains } from '../../backend/xfrm/xfrm.ts';
import { ip, ipBatch } from '../../host/ip.ts';
import type { Family } from '../../wire/address.ts';
import { packetFilters } from './packet-filter.ts';

const FAMILIES = [4, 6] as const;

interface RoutingRule {
  readonly priority: number;
  readonly table?: string;
}

async function routingRules(family: Family): Promise<readonly RoutingRule[]> {
  const { stdout } = await ip([`-${family}`, '-json', 'rule', 'show']);
  return JSON.parse(stdout || '[]');
}

/** What relays leave behind besides SAs, policies and devices when they are killed. */
export const relayRemains: Remains = {
  async blocks() {
    const rules = await Promise.all(FAMILIES.map(routingRules));
    const tables = rules.flat().map(({ table }) => blockOf(Number(table)));
    const prefixes = await Promise.all(packetFilters.map((filter) => filter.installed()));
    const named = prefixes.flat().map((prefix) => Number(/^ikt(\d+)$/.exec(prefix)?.[1] ?? Number.NaN));
    return [...tables, ...named].filter((block) => block !== undefined && !Number.isNaN(block)) as number[];
  },

  async remove(block) {
    await removeRoutes((table) => blockOf(table) === block);
    await removeFilters(prefixOf(block));
  },
};

/** Takes routing rules away, and the tables that they lead to. @throws CommandError */
export async function removeRoutes(isOurs: (table: number) => boolean): Promise<void> {
  for (const family of FAMILIES) {
    const rules = (await routingRules(family)).filter(({ table }) => isOurs(Number(table)));
    const tables = new Set(rules.map(({ table }) => `route flush table ${table}`));
    const commands = [
      ...rules.map(({ priority, table }) => `rule del pref ${priority} table ${table}`),
      ...tables,
    ];
    if (commands.length > 0) await ipBatch(commands, { family });
  }
}

/** Takes the packet filter of a prefix away, wherever it is. @throws CommandError */
export async function removeFilters(prefix: string): Promise<void> {
  for (const filter of packetFilters) {
    if ((await filter.installed()).includes(prefix)) await filter.remove(prefix);
  }
}
