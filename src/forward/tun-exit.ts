import { ip } from '../host/ip.ts';
import type { Clock } from '../link/clock.ts';
import type { Packet } from '../link/packet.ts';
import type { TunDevice } from '../native/native.ts';
import { type Address, type Family, familyOf, hostPrefix, prefixText } from '../wire/address.ts';
import { parseIpHeader } from '../wire/ip.ts';
import type { AddressKey } from './address-key.ts';
import { DropReason } from './drop-reason.ts';
import {
  count,
  type Exit,
  ExitError,
  enterNamespace,
  type ReturnHandler,
  requireForwarding,
  type TunEnvironment,
} from './exit.ts';
import { HostAddresses } from './host-addresses.ts';
import { Napt } from './napt.ts';

/**
 * Opens the built-in exit: a NAPT behind a TUN device. `exitAddresses` (one, or one per family) are routed to this host by
 * the network but must not be configured on an interface: the kernel routes them to the device and forwards.
 * (On an on-link address also: `ip neigh add proxy ADDRESS dev INTERFACE`.)
 * @throws ExitError, NativeError, CommandError saying what to do
 */
export async function openTunExit(
  exitAddresses: readonly Address[],
  environment: TunEnvironment,
): Promise<Exit> {
  const { native, clock, netns } = environment;
  const napts = new Map<Family, Napt>();
  for (const address of exitAddresses) {
    const family = familyOf(address);
    if (napts.has(family))
      throw new ExitError(`an exit has one IPv${family} exit address; leave ${address} out`);
    napts.set(family, new Napt(address, environment.random));
  }
  const enter = enterNamespace(native, netns);
  for (const family of napts.keys()) requireForwarding(family, enter);
  const host = await HostAddresses.read(enter, netns, clock);
  requireForeign(exitAddresses, host);
  const tun = enter(() => native.openTun());
  try {
    await ip(['link', 'set', tun.name, 'mtu', String(environment.mtu), 'up'], { netns });
    for (const address of exitAddresses) {
      await ip(['route', 'add', prefixText(hostPrefix(address)), 'dev', tun.name], { netns });
    }
  } catch (error) {
    tun.close();
    throw error;
  }
  return new TunExit(tun, napts, host, clock);
}

/** @throws ExitError if the kernel would deliver what comes to an exit address to the host itself */
function requireForeign(exitAddresses: readonly Address[], host: HostAddresses): void {
  for (const address of exitAddresses) {
    if (!host.has(address)) continue;
    throw new ExitError(
      `the exit address ${address} is the host's own: remove it from its interface (ip address del), or choose an address ` +
        'that is routed to this host and that no interface has',
    );
  }
}

class TunExit implements Exit {
  readonly kind = 'tun';
  readonly counters: Partial<Record<DropReason, number>> = {};
  readonly #tun: TunDevice;
  readonly #napts: ReadonlyMap<Family, Napt>;
  readonly #host: HostAddresses;
  readonly #clock: Clock;
  #handler: ReturnHandler | undefined;
  #cancelExpiry: (() => void) | undefined;

  constructor(tun: TunDevice, napts: ReadonlyMap<Family, Napt>, host: HostAddresses, clock: Clock) {
    this.#tun = tun;
    this.#napts = napts;
    this.#host = host;
    this.#clock = clock;
    tun.start((packets) => {
      for (const packet of packets) this.#receive(packet);
    });
  }

  send(packet: Packet, client: AddressKey): DropReason | undefined {
    const header = parseIpHeader(packet.buffer, packet.start, packet.end);
    if (header === undefined) return DropReason.MALFORMED;
    const napt = this.#napts.get(header.family);
    if (napt === undefined) return DropReason.NOT_SENT;
    if (this.#host.isDestination(packet.buffer, header)) return DropReason.OWN_SERVICES;
    const dropped = napt.outbound(packet, client, this.#clock.now());
    if (dropped !== undefined) return dropped;
    this.#armExpiry();
    return this.#tun.write(packet) ? undefined : DropReason.NOT_SENT;
  }

  onReturn(handler: ReturnHandler): void {
    this.#handler = handler;
  }

  releaseClient(client: AddressKey): void {
    for (const napt of this.#napts.values()) napt.release(client);
  }

  async close(): Promise<void> {
    this.#handler = undefined;
    this.#cancelExpiry?.();
    this.#tun.close();
  }

  #receive(packet: Packet): void {
    const napt = this.#napts.get(packet.buffer[packet.start] >> 4 === 4 ? 4 : 6);
    const result = napt?.inbound(packet, this.#clock.now()) ?? { drop: DropReason.NOT_FOR_US };
    if ('drop' in result) count(this.counters, result.drop);
    else this.#handler?.(packet, result.client);
  }

  /** Traffic expires sessions as it goes; the timer is for when there is none. */
  #armExpiry(): void {
    if (this.#cancelExpiry !== undefined) return;
    const next = Math.min(
      ...[...this.#napts.values()].map((napt) => napt.nextExpiry ?? Number.POSITIVE_INFINITY),
    );
    if (next === Number.POSITIVE_INFINITY) return;
    this.#cancelExpiry = this.#clock.at(next, () => {
      this.#cancelExpiry = undefined;
      for (const napt of this.#napts.values()) napt.expire(this.#clock.now());
      this.#armExpiry();
    });
  }
}
