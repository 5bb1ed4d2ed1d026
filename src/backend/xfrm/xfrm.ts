import { ip } from '../../host/ip.ts';
import type { Native } from '../../native/native.ts';
import type { TrafficSelector } from '../../wire/traffic-selector.ts';
import { BLOCKS, type Claim, claimBlock } from './block-claim.ts';
import { type Enter, type XfrmChannel, XfrmError } from './channel.ts';
import { ipChannel } from './ip-channel.ts';
import type { InstalledState, XfrmDirection, XfrmPolicy, XfrmRequest } from './model.ts';
import { netlinkChannel } from './netlink-channel.ts';
import { xfrmSelectors } from './selectors.ts';

/**
 * Numbers of ours: 0xA7, 6 bits of block, 18 bits of index. Every state and policy that we install has one as its reqid, which tells
 * whose it is: an instance has a block of its own.
 */
const TAG = 0xa7;
const INDEXES = 2 ** 18;

/** Block policies come after those of tunnels. */
export const TUNNEL_PRIORITY = 1000;
const EXCEPTION_PRIORITY = 1500;
const BLOCK_PRIORITY = 2000;

/** Packets that are refused unless the policy of a tunnel takes them. */
export interface BlockedTraffic {
  readonly directions: readonly XfrmDirection[];
  readonly source: readonly TrafficSelector[];
  readonly destination: readonly TrafficSelector[];
  /** Marks of such packets that are let through. */
  readonly except?: readonly number[];
}

/** What an instance has in a network namespace besides SAs, policies and devices, by the blocks of its numbers. */
export interface Remains {
  blocks(enter: Enter): Promise<readonly number[]>;
  /** Takes away what one has left that is gone. */
  remove(block: number, enter: Enter): Promise<void>;
}

/** Our share of the IPsec of the kernel in one network namespace. */
export interface Xfrm {
  readonly channel: XfrmChannel;
  /** A number that nobody else in the namespace has, for a reqid, a mark or the key of a VTI device. @throws XfrmError if all are taken */
  allocate(): number;
  release(number: number): void;
  /** What all our names begin with; a block has one. */
  readonly prefix: string;
  /** What to call the VTI device of a number, for the next start to remove it if this process is killed. */
  deviceName(number: number): string;
  /** Refuses traffic until `close`. @throws XfrmError */
  block(traffic: readonly BlockedTraffic[]): Promise<void>;
  /** Deletes what is left of ours. @param last - is done after that, while its numbers are still ours */
  close(last?: () => Promise<void>): Promise<void>;
}

export interface XfrmOptions {
  /** Without it the kernel is asked through the program `ip`. */
  readonly native?: Native;
  /** The file of a network namespace, such as /proc/PID/ns/net, for which it takes `native`; default: the calling thread's. */
  readonly namespace?: string;
  /** The namespace was made just now: nobody has left anything there. */
  readonly isNew?: boolean;
  /** What else instances have that may have been killed. Default: nothing. */
  readonly remains?: Remains;
  /** Opens the way to the kernel, with the thread in the namespace. Default: netlink if there is `native`, else `ip`. */
  channel?(enter: Enter): XfrmChannel;
}

/**
 * Opens the IPsec of the kernel, and removes what instances have left there that were killed.
 * @throws NativeError, XfrmError, CommandError
 */
export async function openXfrm(options: XfrmOptions): Promise<Xfrm> {
  const { native, namespace, remains } = options;
  if (namespace !== undefined && native === undefined)
    throw new XfrmError(
      'the IPsec of another network namespace takes the optional package koffi: npm install koffi',
    );
  const enter: Enter = (action) =>
    namespace === undefined || native === undefined
      ? action()
      : native.withinNetworkNamespace(namespace, action);
  const channel = enter(() => {
    if (options.channel !== undefined) return options.channel(enter);
    return native === undefined ? ipChannel(enter) : netlinkChannel(native);
  });
  try {
    const claim = await claimAny(native, enter);
    try {
      if (!options.isNew) await sweepAll(channel, { native, enter, own: claim.block, remains });
      return new Instance(channel, claim);
    } catch (error) {
      claim.release();
      throw error;
    }
  } catch (error) {
    await channel.close();
    throw error;
  }
}

class Instance implements Xfrm {
  readonly channel: XfrmChannel;
  readonly #claim: Claim;
  readonly #taken = new Set<number>();
  #last = 0;

  constructor(channel: XfrmChannel, claim: Claim) {
    this.channel = channel;
    this.#claim = claim;
  }

  allocate(): number {
    if (this.#taken.size === INDEXES) throw new XfrmError(`all of ${INDEXES} numbers for tunnels are taken`);
    do this.#last = (this.#last + 1) % INDEXES;
    while (this.#taken.has(this.#last));
    this.#taken.add(this.#last);
    return ((TAG << 24) | (this.#claim.block << 18) | this.#last) >>> 0;
  }

  release(number: number): void {
    this.#taken.delete(number % INDEXES);
  }

  deviceName(number: number): string {
    return `${this.prefix}-${number % INDEXES}`;
  }

  get prefix(): string {
    return prefixOf(this.#claim.block);
  }

  async block(traffic: readonly BlockedTraffic[]): Promise<void> {
    const template = { reqid: this.allocate(), spi: 0 };
    const requests = traffic.flatMap(({ directions, source, destination, except = [] }) =>
      xfrmSelectors(source, destination).flatMap((selector) =>
        directions.flatMap((direction): readonly XfrmRequest[] => [
          {
            kind: 'add-policy',
            policy: { direction, selector, action: 'block', priority: BLOCK_PRIORITY, template },
          },
          ...except.map((mark): XfrmRequest => {
            const policy = {
              direction,
              selector,
              mark,
              action: 'allow',
              priority: EXCEPTION_PRIORITY,
              template: { ...template, optional: true },
            } as const;
            return { kind: 'add-policy', policy };
          }),
        ]),
      ),
    );
    const failure = await this.channel.apply(requests);
    if (failure !== undefined) throw new XfrmError(failure.error);
  }

  async close(last?: () => Promise<void>): Promise<void> {
    try {
      await sweep(this.channel, await inventoryOf(this.channel), (block) => block === this.#claim.block);
      await last?.();
    } finally {
      await this.channel.close();
      this.#claim.release();
    }
  }
}

/** What the names of a block begin with. */
export function prefixOf(block: number): string {
  return `ikt${block}`;
}

/** The block that a number says that its owner has; undefined for those of others. */
export function blockOf(number: number): number | undefined {
  return number >>> 24 === TAG ? (number >>> 18) % BLOCKS : undefined;
}

async function claimAny(native: Native | undefined, enter: Enter): Promise<Claim> {
  for (let block = 0; block < BLOCKS; block++) {
    const claim = await claimBlock(block, native, enter);
    if (claim !== undefined) return claim;
  }
  throw new XfrmError(`${BLOCKS} instances use the kernel's IPsec in this network namespace: close one`);
}

/** Everything in the kernel, whoever has installed it. */
interface Inventory {
  readonly states: readonly InstalledState[];
  readonly policies: readonly XfrmPolicy[];
}

async function inventoryOf(channel: XfrmChannel): Promise<Inventory> {
  return { states: await channel.states(), policies: await channel.policies() };
}

/** Removes what is in our block, and in those whose owner is gone. */
async function sweepAll(
  channel: XfrmChannel,
  {
    native,
    enter,
    own,
    remains,
  }: Pick<XfrmOptions, 'native' | 'remains'> & { readonly enter: Enter; readonly own: number },
): Promise<void> {
  const devices = await leftDevices(enter);
  const others = new Set(await remains?.blocks(enter));
  const inventory = await inventoryOf(channel);
  const reqids = [...inventory.states, ...inventory.policies.map(({ template }) => template)];
  const found = [
    ...reqids.map(({ reqid }) => blockOf(reqid)),
    ...devices.map(({ block }) => block),
    ...others,
  ];
  const abandoned = new Set([own]);
  const claims: Claim[] = [];
  try {
    for (const block of new Set(found)) {
      if (block === undefined || block === own) continue;
      const claim = await claimBlock(block, native, enter);
      if (claim === undefined) continue;
      claims.push(claim);
      abandoned.add(block);
    }
    // Devices first: without them nothing is forwarded.
    for (const { name, block } of devices) if (abandoned.has(block)) await removeDevice(enter, name);
    await sweep(channel, inventory, (block) => abandoned.has(block));
    for (const block of others) if (abandoned.has(block)) await remains?.remove(block, enter);
  } finally {
    for (const claim of claims) claim.release();
  }
}

/** Deletes every state and policy of some blocks: policies last, for nothing to leave in clear. */
async function sweep(
  channel: XfrmChannel,
  { states, policies }: Inventory,
  isConcerned: (block: number) => boolean,
): Promise<void> {
  const isOurs = ({ reqid }: { readonly reqid: number }) => {
    const block = blockOf(reqid);
    return block !== undefined && isConcerned(block);
  };
  const failure = await channel.apply([
    ...states.filter(isOurs).map((id): XfrmRequest => ({ kind: 'delete-state', id })),
    ...policies
      .filter(({ template }) => isOurs(template))
      .map((id): XfrmRequest => ({ kind: 'delete-policy', id })),
  ]);
  if (failure !== undefined) throw new XfrmError(failure.error);
}

/** Its owner may have done so since it was looked for. */
async function removeDevice(enter: Enter, name: string): Promise<void> {
  try {
    await enter(() => ip(['link', 'delete', name]));
  } catch (error) {
    if (!/Cannot find device/.test(String(error))) throw error;
  }
}

/** The VTI devices in a namespace that are called as `deviceName` has it. */
async function leftDevices(
  enter: Enter,
): Promise<readonly { readonly name: string; readonly block: number }[]> {
  const { stdout } = await enter(() => ip(['-json', 'link', 'show']));
  const links: readonly { readonly ifname?: string }[] = JSON.parse(stdout || '[]');
  return links.flatMap(({ ifname = '' }) => {
    const [, block] = /^ikt(\d+)-\d+$/.exec(ifname) ?? [];
    return block === undefined ? [] : [{ name: ifname, block: Number(block) }];
  });
}
