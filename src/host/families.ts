import { existsSync } from 'node:fs';
import type { Family } from '../wire/address.ts';

/** What the kernel has: IPv4, and IPv6 unless it was built or started without (ipv6.disable=1). */
export function kernelFamilies(): readonly Family[] {
  return existsSync('/proc/self/net/if_inet6') ? [4, 6] : [4];
}
