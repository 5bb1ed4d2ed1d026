import { ip } from '../host/ip.ts';
import type { Packet } from '../link/packet.ts';
import type { TunDevice } from '../native/native.ts';
import { type Prefix, prefixContains, prefixText } from '../wire/address.ts';
import { type IpHeader, parseIpHeader } from '../wire/ip.ts';
import { type AddressKey, addressKey } from './address-key.ts';
import { DropReason } from './drop-reason.ts';
import {
  count,
  type Exit,
  enterNamespace,
  type ReturnHandler,
  requireForwarding,
  type TunEnvironment,
} from './exit.ts';
import { ICMP, parseQuoted } from './icmp.ts';
import { type NftTable, openNftTable } from './nft-table.ts';
import { Remotes } from './remotes.ts';
import { normaliseHeader } from './rewrite.ts';

/**
 * Opens an exit whose address translation is the kernel's: the pools are routed to a TUN device, and an nftables
 * masquerade, restricted to them, gives them the host's own address. Needs the program nft.
 * @throws ExitError, NativeError, CommandError saying what to do
 */
export async function openKernelExit(pools: readonly Prefix[], environment: TunEnvironment): Promise<Exit> {
  const { native, netns } = environment;
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
  return new KernelExit(tun, table, pools, environment.random);
}

/**
 * Nothing reaches a client but answers to what it sent, neither from outside nor from the host's own programs; no client
 * reaches the host itself (T24). Whatever leaves with a client's address nevertheless, because the kernel translates no
 * packet that belongs to no connection, is dropped after translation.
 */
function rules(pools: readonly Prefix[], device: string): string {
  const leaving = pools.map(
    (pool) => `${pool.family === 4 ? 'ip' : 'ip6'} saddr ${prefixText(pool)} oifname != "${device}"`,
  );
  const each = (verdict: string) => leaving.map((match) => `${match} ${verdict}`).join('; ');
  const guard = `oifname "${device}" ct state != { established, related } drop`;
  return [
    `chain exit { type nat hook postrouting priority srcnat; ${each('masquerade')}; }`,
    `chain seal { type filter hook postrouting priority srcnat + 1; ${each('drop')}; }`,
    `chain guard { type filter hook forward priority filter; ${guard}; }`,
    `chain local { type filter hook output priority filter; ${guard}; }`,
    `chain self { type filter hook input priority filter; iifname "${device}" drop; }`,
  ].join('; ');
}

class KernelExit implements Exit {
  readonly kind = 'kernel';
  readonly counters: Partial<Record<DropReason, number>> = {};
  readonly #tun: TunDevice;
  readonly #table: NftTable;
  readonly #random: (length: number) => Uint8Array;
  readonly #remotes = new Remotes();
  #closing = false;
  #problem: string | undefined;
  #handler: ReturnHandler | undefined;

  constructor(
    tun: TunDevice,
    table: NftTable,
    pools: readonly Prefix[],
    random: (length: number) => Uint8Array,
  ) {
    this.#tun = tun;
    this.#table = table;
    this.#random = random;
    tun.start((packets) => {
      for (const packet of packets) this.#receive(packet, pools);
    });
    void table.gone.then(() => this.#lost());
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  send(packet: Packet, client: AddressKey): DropReason | undefined {
    const header = parseIpHeader(packet.buffer, packet.start, packet.end);
    if (header === undefined) return DropReason.MALFORMED;
    if (header.fragment) return DropReason.FRAGMENT;
    packet.end = header.end;
    this.#remotes.add(client, addressKey(packet.buffer, header.destination, header.family));
    normaliseHeader(packet.buffer, header, this.#random);
    return this.#tun.write(packet) ? undefined : DropReason.NOT_SENT;
  }

  onReturn(handler: ReturnHandler): void {
    this.#handler = handler;
  }

  /** The kernel's own time-outs end the client's connections; until then, their answers find no client that asked. */
  releaseClient(client: AddressKey): void {
    this.#remotes.release(client);
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#handler = undefined;
    this.#tun.close();
    await this.#table.close();
  }

  /** Without its table the device would let clients' addresses out. */
  #lost(): void {
    if (this.#closing) return;
    this.#tun.close();
    this.#problem =
      "the process that holds the exit's nftables table (nft -i) has ended; start the relay again";
  }

  #receive(packet: Packet, pools: readonly Prefix[]): void {
    const { buffer } = packet;
    const header = parseIpHeader(buffer, packet.start, packet.end);
    if (header === undefined) {
      count(this.counters, DropReason.MALFORMED);
      return;
    }
    if (!pools.some((pool) => isFor(pool, buffer, header))) {
      count(this.counters, DropReason.NOT_FOR_US);
      return;
    }
    const client = addressKey(buffer, header.destination, header.family);
    const remote = remoteOf(buffer, header);
    if (remote === undefined || !this.#remotes.has(client, remote)) {
      count(this.counters, DropReason.FILTERED);
      return;
    }
    normaliseHeader(buffer, header, this.#random);
    this.#handler?.(packet, client);
  }
}

/** Whom a packet to a client is from: for an ICMP error, the host that the quoted packet was for. */
function remoteOf(buffer: Uint8Array, header: IpHeader): AddressKey | undefined {
  const { family, payload } = header;
  const { protocol, errors } = ICMP[family];
  if (header.protocol !== protocol || !errors.includes(buffer[payload])) {
    return addressKey(buffer, header.source, family);
  }
  const quoted = parseQuoted(buffer, payload, header.end, family);
  return quoted && addressKey(buffer, quoted.destination, family);
}

function isFor(pool: Prefix, buffer: Uint8Array, header: IpHeader): boolean {
  return pool.family === header.family && prefixContains(pool, buffer, header.destination);
}
