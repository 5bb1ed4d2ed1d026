import { existsSync, readFileSync } from 'node:fs';
import type { Clock } from '../link/clock.ts';
import type { Packet } from '../link/packet.ts';
import type { Native } from '../native/native.ts';
import type { Family } from '../wire/address.ts';
import type { AddressKey } from './address-key.ts';
import type { DropReason } from './drop-reason.ts';

/**
 * Lets clients' packets out to the Internet and brings the answers back. Packets are whole IP packets that `decide`
 * has let through; a client is named by its inner address.
 */
export interface Exit {
  /** How it reaches the Internet. */
  readonly kind: 'tun' | 'kernel' | 'socket';
  /** Sends a client's packet, rewriting it in place; the reason if it was dropped. Never throws. */
  send(packet: Packet, client: AddressKey): DropReason | undefined;
  /** Where answers go, addressed to the client; until it is set they are dropped. The packet is the handler's to keep. */
  onReturn(handler: ReturnHandler): void;
  /** Why nothing leaves any more, though it was not closed; absent as long as it works. */
  readonly problem?: string;
  /** Forgets a client: its address may be another's from now on. */
  releaseClient(client: AddressKey): void;
  /** Packets from outside that were dropped, by reason. */
  readonly counters: Readonly<Partial<Record<DropReason, number>>>;
  /** Nothing leaves or comes back any more. */
  close(): Promise<void>;
}

/** Takes an answer, a whole IP packet addressed to `client`. */
export type ReturnHandler = (packet: Packet, client: AddressKey) => void;

/** An exit that cannot be opened; the message says what is missing and how to bring it. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
}

/** What the exits with a TUN device work with. */
export interface TunEnvironment {
  readonly native: Native;
  readonly clock: Clock;
  readonly random: (length: number) => Uint8Array;
  /** The largest packet that reaches every client: the kernel tells senders of larger ones. */
  readonly mtu: number;
  /** The id of a process in whose network namespace the exit is; by default in ours. */
  readonly netns?: number;
}

/** Runs something synchronous in the exit's network namespace. */
export type Enter = <T>(action: () => T) => T;

export function enterNamespace(native: Native | undefined, netns: number | undefined): Enter {
  if (netns === undefined) return (action) => action();
  if (native === undefined)
    throw new ExitError('an exit in another network namespace needs the package koffi');
  return (action) => native.withinNetworkNamespace(`/proc/${netns}/ns/net`, action);
}

const FORWARDING = {
  4: { file: '/proc/sys/net/ipv4/ip_forward', name: 'net.ipv4.ip_forward' },
  6: { file: '/proc/sys/net/ipv6/conf/all/forwarding', name: 'net.ipv6.conf.all.forwarding' },
} as const;

/**
 * @param who - needs it
 * @param instead - what to do that does not need it
 * @throws ExitError if the kernel does not forward packets of `family`
 */
export function requireForwarding(
  family: Family,
  enter: Enter,
  who = 'this exit',
  instead = 'use the exit without privileges',
): void {
  const { file, name } = FORWARDING[family];
  if (!enter(() => existsSync(file))) {
    throw new ExitError(`the kernel has no IPv${family}, which ${who} needs: leave its pool and address out`);
  }
  if (enter(() => readFileSync(file, 'utf8')).trim() === '0') {
    throw new ExitError(
      `the kernel does not forward IPv${family} packets, which ${who} needs: sysctl -w ${name}=1 ` +
        `(and in /etc/sysctl.d/ to keep it), or ${instead}`,
    );
  }
}

/** Adds one to a counter. */
export function count(counters: Partial<Record<DropReason, number>>, reason: DropReason): void {
  counters[reason] = (counters[reason] ?? 0) + 1;
}
