import type { Enter } from '../backend/xfrm/channel.ts';
import { blockOf, prefixOf, type Remains } from '../backend/xfrm/xfrm.ts';
import { kernelFamilies } from '../host/families.ts';
import { ip, ipBatch } from '../host/ip.ts';
import { type Native, NativeError } from '../native/native.ts';
import { type Family, hostPrefix, type Prefix } from '../wire/address.ts';
import { forgetConnections } from './connections.ts';
import { installedRules, removeRules } from './packet-filter.ts';

const UNSUPPORTED = ['EPROTONOSUPPORT', 'EOPNOTSUPP'];

interface RoutingRule {
  readonly priority: number;
  readonly table?: string;
  /** A block; its length is that of an address unless it is said. */
  readonly src: string;
  readonly srclen?: number;
  readonly dst?: string;
  readonly dstlen?: number;
}

/** What relays leave behind besides SAs, policies and devices when they are killed. */
export function relayRemains(native: Native): Remains {
  return {
    async blocks(enter) {
      const rules = await Promise.all(kernelFamilies().map((family) => routingRules(family, enter)));
      const tables = rules.flat().map(({ table }) => blockOf(Number(table)));
      const named = (await installedRules(enter)).map((name) => /^ikt(\d+)$/.exec(name)?.[1]);
      return [...tables, ...named.map((block) => (block === undefined ? block : Number(block)))].filter(
        (block) => block !== undefined,
      );
    },
    remove: (block, enter) => removeRemains(native, block, enter),
  };
}

/**
 * Takes a relay's connections, routes and packet filter away, in this order: nothing that a connection translates to an address of a pool
 * is to find a way out.
 * @throws CommandError, NativeError
 */
export async function removeRemains(native: Native, block: number, enter: Enter): Promise<void> {
  for (const family of kernelFamilies()) {
    const rules = (await routingRules(family, enter)).filter(({ table }) => blockOf(Number(table)) === block);
    forget(native, rules.flatMap(blocksOf), enter);
    const tables = new Set(rules.map(({ table }) => `route flush table ${table}`));
    const commands = [
      ...rules.map(({ priority, table }) => `rule del pref ${priority} table ${table}`),
      ...tables,
    ];
    if (commands.length > 0) await enter(() => ipBatch(commands, { family }));
  }
  await removeRules(prefixOf(block), enter);
}

/** A kernel that does not tell of its connections has never had a relay that needs it. @throws NativeError */
function forget(native: Native, blocks: readonly Prefix[], enter: Enter): void {
  try {
    forgetConnections(native, blocks, enter);
  } catch (error) {
    if (!(error instanceof NativeError) || !UNSUPPORTED.includes(error.code)) throw error;
  }
}

async function routingRules(family: Family, enter: Enter): Promise<readonly RoutingRule[]> {
  const { stdout } = await enter(() => ip([`-${family}`, '-json', 'rule', 'show']));
  return JSON.parse(stdout || '[]');
}

function blocksOf({ src, srclen, dst, dstlen }: RoutingRule): readonly Prefix[] {
  const block = (address: string | undefined, length: number | undefined): Prefix[] => {
    if (address === undefined || address === 'all') return [];
    const host = hostPrefix(address);
    return [{ ...host, length: length ?? host.length }];
  };
  return [...block(src, srclen), ...block(dst, dstlen)];
}
