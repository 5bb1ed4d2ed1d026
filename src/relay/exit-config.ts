import { z } from 'zod';
import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import { addressOf, byFamily } from '../descriptor/fields.ts';
import {
  coveredRule,
  DEFAULT_EXIT_POLICY,
  type ExitPolicy,
  type ExitRule,
  isNeverReached,
  parseExitRule,
} from '../forward/exit-policy.ts';
import { isSpecialAddress } from '../forward/special-ranges.ts';
import { type Address, addressBytes, familyOf, prefixContains, prefixText } from '../wire/address.ts';
import type { ConfigError } from './config-document.ts';

/** How an exit reaches the Internet. */
export interface ExitConfig {
  /** Our own NAPT behind a TUN device, the kernel's (nftables), or ordinary sockets (no privileges, UDP only). */
  readonly kind: 'napt' | 'kernel' | 'sockets';
  /** The addresses that clients' traffic leaves from; always there for `napt`. */
  readonly addresses: { readonly ip4?: Address; readonly ip6?: Address };
  /** What may leave. */
  readonly policy: ExitPolicy;
}

/** What relay.yaml has under `exit`. */
export const exitSchema = z.strictObject({
  kind: z.enum(['napt', 'kernel', 'sockets'], 'must be napt, kernel or sockets'),
  address: byFamily(addressOf).optional(),
  policy: z.array(z.string()).min(1).max(64).optional(),
});

type Complain = (path: readonly PropertyKey[], message: string) => ConfigError;

/**
 * @param relays - our own descriptor first
 * @throws ConfigError for an exit that cannot work as it is written
 */
export function exitOf(
  { kind, address, policy }: z.infer<typeof exitSchema>,
  relays: readonly RelayDescriptor[],
  error: Complain,
): ExitConfig {
  if (kind === 'napt' && address === undefined) {
    throw error(
      ['exit'],
      'a napt exit needs an address that the host itself does not use; write for example "address: { ip4: 192.0.2.2 }"',
    );
  }
  if (kind === 'sockets' && address !== undefined) {
    throw error(
      ['exit', 'address'],
      'an exit of kind sockets leaves from the address that the host routes by; leave it out, or use kind: napt',
    );
  }
  if (kind === 'napt') checkExitAddresses(address!, relays, error);
  return { kind, addresses: address ?? {}, policy: policyOf(policy ?? DEFAULT_EXIT_POLICY, error) };
}

function policyOf(lines: readonly string[], error: Complain): ExitPolicy {
  const rules = lines.map((line, index): ExitRule => {
    const refuse = (problem: string) => error(['exit', 'policy', index], problem);
    let rule: ExitRule;
    try {
      rule = parseExitRule(line, `rule ${index + 1}`);
    } catch (cause) {
      throw refuse((cause as Error).message);
    }
    if (rule.accept && isNeverReached(rule)) {
      throw refuse(
        `'${line}' lets nothing out: private, local and multicast destinations are always refused; take it off the list`,
      );
    }
    return rule;
  });
  const covered = coveredRule({ rules });
  if (covered !== undefined) {
    const { rule, by } = covered;
    throw error(
      ['exit', 'policy', rule],
      `'${lines[rule]}' never decides: the first rule that matches does, and rule ${by + 1}, '${lines[by]}', ` +
        'matches all of this; put the narrower one first, or take it off the list',
    );
  }
  if (!rules.some(({ accept }) => accept)) {
    throw error(
      ['exit', 'policy'],
      'lets nothing out: end the list with "accept *" or with what may leave, or leave exit out',
    );
  }
  return { rules };
}

/** @throws ConfigError for name servers that no client reaches */
export function checkNameServers(dns: readonly Address[], isExit: boolean, error: Complain): void {
  if (dns.length > 0 && !isExit) {
    throw error(['dns'], 'only an exit has its clients ask name servers; leave it out, or add exit');
  }
  dns.forEach((address, index) => {
    if (isSpecialAddress(addressBytes(address), 0, familyOf(address))) {
      throw error(
        ['dns', index],
        `${address} is not a public address, and clients reach no others; choose a public name server`,
      );
    }
  });
}

function checkExitAddresses(
  exitAddresses: ExitConfig['addresses'],
  relays: readonly RelayDescriptor[],
  error: Complain,
): void {
  const [own] = relays;
  for (const family of ['ip4', 'ip6'] as const) {
    const address = exitAddresses[family];
    if (address === undefined) continue;
    const refuse = (problem: string) => error(['exit', 'address', family], `${address} ${problem}`);
    if (own.pools[family] === undefined) {
      throw refuse(`has no clients to leave from it: add pool.${family}, or leave it out`);
    }
    for (const { name, addresses, pools } of relays) {
      if (addresses[family] === address) {
        throw refuse(
          `is the address of relay '${name}': have another one routed to this host, that no interface has, ` +
            'or use kind: kernel',
        );
      }
      const pool = pools[family];
      if (pool !== undefined && prefixContains(pool, addressBytes(address))) {
        throw refuse(`is in the pool of relay '${name}' (${prefixText(pool)}): choose a public address`);
      }
    }
  }
}
