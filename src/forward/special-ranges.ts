import { type Family, type Prefix, parsePrefix, prefixContains } from '../wire/address.ts';

/** Blocks that no client reaches through an exit (RFC 6890, RFC 7619 3.4): the exit's own network lives in them. */
const SPECIAL = {
  4: [
    '0.0.0.0/8',
    '10.0.0.0/8',
    '100.64.0.0/10',
    '127.0.0.0/8',
    '169.254.0.0/16',
    '168.63.129.16/32', // a cloud's services for its machines
    '172.16.0.0/12',
    '192.0.0.0/24',
    '192.168.0.0/16',
    '198.18.0.0/15', // benchmarks of networks (RFC 2544)
    '224.0.0.0/4',
    '240.0.0.0/4',
  ].map(parsePrefix),
  6: [
    '::/96', // unspecified, loopback, IPv4-compatible
    '::ffff:0:0/96',
    // IPv4 addresses in disguise: NAT64 (RFC 6052, 8215), Teredo (RFC 4380), 6to4 (RFC 3056)
    '64:ff9b::/96',
    '64:ff9b:1::/48',
    '2001::/32',
    '2002::/16',
    'fc00::/7',
    'fe80::/10',
    'fec0::/10',
    'ff00::/8',
  ].map(parsePrefix),
} as const;

/** Those blocks of a family. */
export function specialRanges(family: Family): readonly Prefix[] {
  return SPECIAL[family];
}

/** Whether the address at `buffer[offset...]` is one of loopback, link-local, private, multicast or reserved use. */
export function isSpecialAddress(buffer: Uint8Array, offset: number, family: Family): boolean {
  for (const prefix of SPECIAL[family]) if (prefixContains(prefix, buffer, offset)) return true;
  return false;
}
