import { ExitError } from '../../forward/exit.ts';
import { CommandError } from '../../host/command.ts';
import type { FirewallRule } from './firewall.ts';
import { iptables } from './iptables.ts';
import { nftables } from './nftables.ts';

/** A packet filter of the kernel, in the network namespace of this process. What is called by a prefix ("ikt3") is one relay's. */
export interface PacketFilter {
  /** Puts rules in place, before those of others, all or none. @throws CommandError */
  install(prefix: string, rules: readonly FirewallRule[]): Promise<void>;
  /** Packets that they have dropped, by reason. @throws CommandError */
  drops(prefix: string): Promise<Readonly<Record<string, number>>>;
  /** The prefixes of those that are in place. */
  installed(): Promise<readonly string[]>;
  /** Takes them away. @throws CommandError */
  remove(prefix: string): Promise<void>;
}

/** Both that Linux has. */
export const packetFilters: readonly PacketFilter[] = [nftables, iptables];

/**
 * Installs rules where the kernel takes them: nftables, else iptables-legacy.
 * @throws ExitError if it takes neither
 */
export async function installRules(prefix: string, rules: readonly FirewallRule[]): Promise<PacketFilter> {
  const complaints: string[] = [];
  for (const filter of packetFilters) {
    try {
      await filter.install(prefix, rules);
      return filter;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      complaints.push(error.message.split('\n')[0]);
    }
  }
  throw new ExitError(
    `the kernel takes no packet filter, without which a relay's clients could reach the host: ${complaints.join('; ')}`,
  );
}
