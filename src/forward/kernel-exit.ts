import { ip } from '../host/ip.ts';
import type { Packet } from '../link/packet.ts';
import type { TunDevice } from '../native/native.ts';
import { type Prefix, prefixContains, prefixText } from '../wire/address.ts';
import { type IpHeader, parseIpHeader } from '../wire/ip.ts';
import { addressKey } from './address-key.ts';
import { DropReason } from './drop-reason.ts';
import {
  count,
  type Exit,
  enterNamespace,
  type ReturnHandler,
  requireForwarding,
  type TunEnvironment,
} from './exit.ts';
import { HostAddresses } from './host-addresses.ts';
import { type NftTable, openNftTable } from './nft-table.ts';
import { normaliseHeader } from './rewrite.ts';

/**
 * Opens an exit whose address translation is the kernel's: the pools are routed to a TUN device, and an nftables
 * masquerade, restricted to them, gives them the host's own address. Needs the program nft.
 * @throws ExitError, NativeError, CommandError saying what to do
 */
export async function openKernelExit(pools: readonly Prefix[], environment: TunEnvironment): Promise<Exit> {
  const { native, clock, netns } = environment;
  const enter = enterNamespace(native, netns);
  for (const pool of pools) requireForwarding(pool.family, enter);
  const tun = enter(() => native.openTun());
  let table: NftTable | undefined;
  try {
    table = await openNftTable(`ike_telescope_${process.pid}_${tun.name}`, rules(pools, tun.name), netns);
    await ip(['link', 'set', tun.name, 'mtu', String(environment.mtu), 'up'], { netns });
    for (const pool of pools) await ip(['route', 'add', prefixText(pool), 'dev', tun.name], { netns });
  } catch (error) {
    tun.close();
    await table?.close();
    throw error;
  }
  return new KernelExit(tun, table, pools, new HostAddresses(enter, clock), environment.random);
}

/** Nothing reaches a client but answers to what it sent, neither from outside nor from the host's own programs. */
function rules(pools: readonly Prefix[], device: string): string {
  const masquerades = pools.map(
    (pool) =>
      `${pool.family === 4 ? 'ip' : 'ip6'} saddr ${prefixText(pool)} oifname != "${device}" masquerade`,
  );
  const guard = `oifname "${device}" ct state != { established, related } drop`;
  return [
    `chain exit { type nat hook postrouting priority srcnat; ${masquerades.join('; ')}; }`,
    `chain guard { type filter hook forward priority filter; ${guard}; }`,
    `chain local { type filter hook output priority filter; ${guard}; }`,
  ].join('; ');
}

class KernelExit implements Exit {
  readonly kind = 'kernel';
  readonly counters: Partial<Record<DropReason, number>> = {};
  readonly #tun: TunDevice;
  readonly #table: NftTable;
  readonly #host: HostAddresses;
  readonly #random: (length: number) => Uint8Array;
  #handler: ReturnHandler | undefined;

  constructor(
    tun: TunDevice,
    table: NftTable,
    pools: readonly Prefix[],
    host: HostAddresses,
    random: (length: number) => Uint8Array,
  ) {
    this.#tun = tun;
    this.#table = table;
    this.#host = host;
    this.#random = random;
    tun.start((packets) => {
      for (const packet of packets) this.#receive(packet, pools);
    });
  }

  send(packet: Packet): DropReason | undefined {
    const header = parseIpHeader(packet.buffer, packet.start, packet.end);
    if (header === undefined) return DropReason.MALFORMED;
    if (header.fragment) return DropReason.FRAGMENT;
    if (this.#host.isDestination(packet.buffer, header)) return DropReason.OWN_SERVICES;
    packet.end = header.end;
    normaliseHeader(packet.buffer, header, this.#random);
    return this.#tun.write(packet) ? undefined : DropReason.NOT_SENT;
  }

  onReturn(handler: ReturnHandler): void {
    this.#handler = handler;
  }

  /** The kernel's own time-outs end the client's connections; nothing here is kept per client. */
  releaseClient(): void {}

  async close(): Promise<void> {
    this.#handler = undefined;
    this.#tun.close();
    await this.#table.close();
  }

  #receive(packet: Packet, pools: readonly Prefix[]): void {
    const { buffer } = packet;
    const header = parseIpHeader(buffer, packet.start, packet.end);
    if (header === undefined) {
      count(this.counters, DropReason.MALFORMED);
    } else if (!pools.some((pool) => isFor(pool, buffer, header))) {
      count(this.counters, DropReason.NOT_FOR_US);
    } else {
      normaliseHeader(buffer, header, this.#random);
      this.#handler?.(packet, addressKey(buffer, header.destination, header.family));
    }
  }
}

function isFor(pool: Prefix, buffer: Uint8Array, header: IpHeader): boolean {
  return pool.family === header.family && prefixContains(pool, buffer, header.destination);
}
