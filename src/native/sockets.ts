import { closeSync } from 'node:fs';
import { type Address, type Family, familyOf } from '../wire/address.ts';
import { IpProtocol, OUTER_TTL } from '../wire/ip.ts';
import type { Libc } from './libc.ts';
import * as linux from './linux.ts';

/** Octets of receive buffer asked for: some 10 ms of full-size packets at 2.5 Gbit/s. */
const RECEIVE_BUFFER = 4 << 20;

/** A socket set up by `prepare` (which throws what went wrong); closed again if that fails. */
export function openSocket(
  libc: Libc,
  what: string,
  parameters: readonly [family: number, type: number, protocol: number],
  remedies: Readonly<Record<string, string>>,
  prepare: (fd: number) => void,
): number {
  const fd = libc.socket(...parameters);
  if (fd < 0) throw libc.failure(what, remedies);
  try {
    prepare(fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

/** Asks for a large receive buffer: beyond the system's limit where CAP_NET_ADMIN allows, else up to it. */
export function enlargeReceiveBuffer(libc: Libc, fd: number): void {
  if (libc.setOption(fd, linux.SOL_SOCKET, linux.SO_RCVBUFFORCE, RECEIVE_BUFFER) < 0) {
    libc.setOption(fd, linux.SOL_SOCKET, linux.SO_RCVBUF, RECEIVE_BUFFER);
  }
}

function domain(family: Family): number {
  return family === 6 ? linux.AF_INET6 : linux.AF_INET;
}

/** The IP header that all our packets have: DF whatever the path's MTU is said to be, TTL 64, no flow label. @throws NativeError */
export function setConstantHeader(libc: Libc, fd: number, family: Family): void {
  const options =
    family === 4
      ? [
          [linux.IPPROTO_IP, linux.IP_MTU_DISCOVER, linux.PMTUDISC_PROBE],
          [linux.IPPROTO_IP, linux.IP_TTL, OUTER_TTL],
        ]
      : [
          [linux.IPPROTO_IPV6, linux.IPV6_MTU_DISCOVER, linux.PMTUDISC_PROBE],
          [linux.IPPROTO_IPV6, linux.IPV6_DONTFRAG, 1],
          [linux.IPPROTO_IPV6, linux.IPV6_UNICAST_HOPS, OUTER_TTL],
          [linux.IPPROTO_IPV6, linux.IPV6_AUTOFLOWLABEL, 0],
        ];
  for (const [level, option, value] of options) {
    if (libc.setOption(fd, level, option, value) < 0) throw libc.failure(`socket option ${level}/${option}`);
  }
}

/** Has the kernel's IPsec take the ESP that a UDP socket receives. @throws NativeError */
export function takeEspInUdp(libc: Libc, fd: number): void {
  if (libc.setOption(fd, linux.SOL_UDP, linux.UDP_ENCAP, linux.UDP_ENCAP_ESPINUDP) < 0)
    throw libc.failure('ESP in UDP', { ENOPROTOOPT: 'this kernel has no IPsec: modprobe esp4' });
}

/** An fd of a raw ESP socket bound to `local`. @throws NativeError */
export function openRawEspFd(libc: Libc, local: Address): number {
  const what = `raw socket for ESP (IP protocol 50) at ${local}`;
  const remedies = {
    EPERM:
      'it needs CAP_NET_RAW: run as root, or use ESP in UDP (extend --encapsulation udp, or encapsulation: udp in relay.yaml)',
    EADDRNOTAVAIL: 'that is not an address of this host',
  };
  const family = familyOf(local);
  return openSocket(libc, what, [domain(family), linux.SOCK_RAW, IpProtocol.ESP], remedies, (fd) => {
    setConstantHeader(libc, fd, family);
    enlargeReceiveBuffer(libc, fd);
    if (libc.bind(fd, libc.writeName(local, 0)) < 0) throw libc.failure(what, remedies);
  });
}

/** `Native.openUdp`. */
export function openUdp(
  libc: Libc,
  local: Address,
  port: number,
  { foreign = false }: { readonly foreign?: boolean } = {},
): number {
  const what = `UDP port ${port} of ${local}`;
  const remedies = {
    EACCES: 'it needs CAP_NET_BIND_SERVICE (see net.ipv4.ip_unprivileged_port_start), or choose another port',
    EADDRINUSE: 'another process has it: stop that IKE daemon, or choose another port',
    EADDRNOTAVAIL: 'that is not an address of this host',
  };
  const family = familyOf(local);
  return openSocket(libc, what, [domain(family), linux.SOCK_DGRAM, 0], remedies, (fd) => {
    if (family === 6 && libc.setOption(fd, linux.IPPROTO_IPV6, linux.IPV6_V6ONLY, 1) < 0)
      throw libc.failure(what);
    if (foreign && libc.setOption(fd, linux.IPPROTO_IP, linux.IP_FREEBIND, 1) < 0) throw libc.failure(what);
    if (libc.bind(fd, libc.writeName(local, port)) < 0) throw libc.failure(what, remedies);
  });
}

/** An fd of a datagram ICMP socket. @throws NativeError */
export function openPingSocket(libc: Libc, family: Family): number {
  const protocol = family === 4 ? IpProtocol.ICMP : IpProtocol.ICMPV6;
  const remedies = {
    EACCES:
      'your group is outside net.ipv4.ping_group_range: sysctl -w net.ipv4.ping_group_range="0 2147483647"',
  };
  return openSocket(libc, 'ping socket', [domain(family), linux.SOCK_DGRAM, protocol], remedies, () => {});
}
