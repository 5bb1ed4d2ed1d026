import { HOP_IKE_PORT } from '../telescope/hop-origin.ts';
import { type Address, type Family, familyOf } from '../wire/address.ts';

/** DNS, and DNS over TLS or QUIC (RFC 7858, RFC 9250). */
export const DNS_PORTS: readonly number[] = [53, 853];

const FAMILIES: readonly Family[] = [4, 6];

/**
 * The kernel copies DF and the flow label of a packet into the header outside it, so all that enters a tunnel has them alike: DF and no
 * label, nor DSCP or ECN, which the exit would see (T13, T15), nor an identification, which a packet that is never to be a fragment needs not.
 */
const CONSTANT_HEADER: Readonly<Record<Family, string>> = {
  4: 'pedit munge offset 1 u8 set 0 munge offset 4 u16 set 0 munge offset 6 u8 set 0x40 retain 0x40 pipe action csum ip4h',
  6: 'pedit munge offset 0 u32 set 0 retain 0x0fffffff',
};

/**
 * What `tc` has a tunnel's device carry in the namespace of the application: whole packets, and DNS only to the name servers that the exit
 * has assigned: any other would tell it whose the client uses elsewhere. The tunnel's policy sees to the source address.
 */
export function applicationRules(device: string, servers: readonly Address[]): string[] {
  return [
    ...opened(device),
    ...filters(device, 'egress', (family) => [
      dressed(family),
      FRAGMENTS,
      ...servers
        .filter((server) => familyOf(server) === family)
        .flatMap((server) => dnsMatches().map((match) => `flower ${match} dst_ip ${server} action pass`)),
      ...dnsMatches().map((match) => `flower ${match} action drop`),
    ]),
  ];
}

/**
 * The same in a namespace between two hops, from which nothing but the IKE and ESP of the outer of the two are to leave, and to which nothing
 * else comes: no ICMP, by which anybody on the way could change the MTU of one telescope's layers, or its routes.
 */
export function hopRules(device: string): string[] {
  return [
    ...opened(device),
    ...filters(device, 'egress', (family) => [dressed(family), ...onlyIpsec('src_port')]),
    ...filters(device, 'ingress', () => [FRAGMENTS, ...onlyIpsec('dst_port')]),
  ];
}

const FRAGMENTS = 'flower ip_flags frag action drop';

function dressed(family: Family): string {
  return `matchall action ${CONSTANT_HEADER[family]} continue`;
}

function onlyIpsec(ownPort: 'src_port' | 'dst_port'): string[] {
  return [
    'flower ip_proto 0x32 action pass',
    `flower ip_proto udp ${ownPort} ${HOP_IKE_PORT} action pass`,
    'matchall action drop',
  ];
}

function dnsMatches(): string[] {
  return DNS_PORTS.flatMap((port) =>
    ['udp', 'tcp'].map((protocol) => `ip_proto ${protocol} dst_port ${port}`),
  );
}

function opened(device: string): string[] {
  return [`qdisc add dev ${device} clsact`];
}

/** Filters are asked in the order of their `prio`, which those of different families must not share. */
function filters(
  device: string,
  direction: 'egress' | 'ingress',
  ofFamily: (family: Family) => readonly string[],
): string[] {
  const all = FAMILIES.flatMap((family) => {
    const protocol = family === 4 ? 'ip' : 'ipv6';
    return ofFamily(family).map((filter) => ({ protocol, filter }));
  });
  return all.map(
    ({ protocol, filter }, index) =>
      `filter add dev ${device} ${direction} protocol ${protocol} prio ${index + 1} ${filter}`,
  );
}
