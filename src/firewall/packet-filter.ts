import type { Enter } from '../backend/xfrm/channel.ts';
import { CommandError } from '../host/command.ts';
import { iptables } from './iptables.ts';
import { nftables } from './nftables.ts';
import type { RuleSet } from './rules.ts';

/** A packet filter of the kernel, in the network namespace of this process or where `enter` leads. */
export interface PacketFilter {
  /** Puts rules in place, before those of others, all or none. @throws CommandError */
  install(set: RuleSet): Promise<void>;
  /** Packets that the rules of this name have dropped, by reason. @throws CommandError */
  drops(name: string): Promise<Readonly<Record<string, number>>>;
  /** The names of those that are in place. @throws CommandError */
  installed(enter: Enter): Promise<readonly string[]>;
  /** Takes them away. @throws CommandError */
  remove(name: string, enter: Enter): Promise<void>;
}

/** Both that Linux has. */
const packetFilters: readonly PacketFilter[] = [nftables, iptables];

/**
 * Installs rules where the kernel takes them: nftables, else iptables-legacy.
 * @throws CommandError if it takes neither
 */
export async function installRules(set: RuleSet): Promise<PacketFilter> {
  const complaints: string[] = [];
  for (const filter of packetFilters) {
    try {
      await filter.install(set);
      return filter;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      complaints.push(error.message.split('\n')[0]);
    }
  }
  throw new CommandError(
    `the kernel takes no packet filter, without which a relay's clients could reach the host: ${complaints.join('; ')}`,
  );
}

/** The names of all rules that are in place. */
export async function installedRules(enter: Enter): Promise<readonly string[]> {
  const names = await Promise.all(packetFilters.map((filter) => namesOf(filter, enter)));
  return names.flat();
}

/** Takes rules away, wherever they are. @throws CommandError */
export async function removeRules(name: string, enter: Enter): Promise<void> {
  for (const filter of packetFilters) {
    if ((await namesOf(filter, enter)).includes(name)) await filter.remove(name, enter);
  }
}

/** Whoever has put rules in place has a program for it: where it is missing, they are none of ours. */
function namesOf(filter: PacketFilter, enter: Enter): Promise<readonly string[]> {
  return filter.installed(enter).catch(() => []);
}
