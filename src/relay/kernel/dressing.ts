import { IpProtocol, OUTER_TTL } from '../../wire/ip.ts';
import type { Layout } from './layout.ts';

/** Of IPv6 packets' first headers, those that relays forward: behind an extension header another could hide. */
const CLIENT_HEADERS = [IpProtocol.TCP, IpProtocol.UDP, IpProtocol.ICMPV6, IpProtocol.ESP];
const OVERLAY_HEADERS = [IpProtocol.UDP, IpProtocol.ESP];

/** IPv4 headers without options, and packets that are no fragments. */
const WITHOUT_OPTIONS = 'match u8 0x45 0xff at 0';
const WHOLE = 'match u16 0 0x3fff at 6';

/**
 * `tc` commands that give clients' packets the headers that they have in user space: TOS and flow label 0, DF set, identification 0,
 * and a constant TTL. Whatever is inside an ESP packet has DF then, so the kernel, which copies it, sets it in the outer headers as
 * well. Fragments, options and extension headers of clients and overlays are dropped. What has come out of a device is marked.
 */
export function dressingCommands({ clients, overlays }: Layout): readonly string[] {
  return [
    ...clients.flatMap(({ name, opened }) => {
      const egress = (rest: string) => `filter add dev ${name} egress ${rest}`;
      // Forwarding takes one off.
      const [dressed4, dressed6] = [dress4(OUTER_TTL + 1), dress6(OUTER_TTL + 1)];
      return [
        ...ingress(
          name,
          CLIENT_HEADERS,
          [dressed4, dressed6].map((dress) => `${dress} pipe ${marked(opened)}`),
        ),
        egress(`protocol ip prio 1 u32 ${WHOLE} ${dress4(OUTER_TTL)}`),
        egress(`protocol ip prio 2 matchall ${dressFragment(OUTER_TTL)}`),
        egress(`protocol ipv6 prio 3 matchall ${dress6(OUTER_TTL)}`),
      ];
    }),
    ...overlays.flatMap(({ name, opened }) =>
      ingress(name, OVERLAY_HEADERS, [marked(opened), marked(opened)]),
    ),
  ];
}

/**
 * @param headers - first headers of IPv6 packets that pass
 * @param actions - for IPv4 and IPv6
 */
function ingress(
  name: string,
  headers: readonly number[],
  [action4, action6]: readonly string[],
): readonly string[] {
  const add = (rest: string) => `filter add dev ${name} ingress ${rest}`;
  return [
    `qdisc add dev ${name} clsact`,
    add(`protocol ip prio 1 u32 ${WITHOUT_OPTIONS} ${WHOLE} ${action4}`),
    ...headers.map((header) => add(`protocol ipv6 prio 2 u32 match u8 ${header} 0xff at 6 ${action6}`)),
    add('protocol all prio 3 matchall action drop'),
  ];
}

function marked(mark: number): string {
  return `action skbedit mark ${mark}`;
}

function dress4(ttl: number): string {
  return pedit(['offset 1 u8 set 0', 'offset 4 u16 set 0', ...dontFragment(ttl)], 'ip4h');
}

/** A fragment of what comes from elsewhere keeps its identification. */
function dressFragment(ttl: number): string {
  return pedit(['offset 1 u8 set 0', ...dontFragment(ttl)], 'ip4h');
}

function dontFragment(ttl: number): readonly string[] {
  return ['offset 6 u8 set 0x40 retain 0x40', `offset 8 u8 set ${ttl}`];
}

function dress6(hopLimit: number): string {
  return `action pedit munge offset 0 u32 set 0x60000000 munge offset 7 u8 set ${hopLimit}`;
}

function pedit(changes: readonly string[], checksum: string): string {
  return `action pedit ${changes.map((change) => `munge ${change}`).join(' ')} pipe action csum ${checksum}`;
}
