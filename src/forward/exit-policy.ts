import {
  type Family,
  hostPrefix,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixContains,
} from '../wire/address.ts';
import { type IpHeader, IpProtocol } from '../wire/ip.ts';
import { specialRanges } from './special-ranges.ts';

/** What an exit lets out unless its operator says otherwise: everything but mail submission between servers. */
export const DEFAULT_EXIT_POLICY: readonly string[] = ['reject *:25/tcp', 'accept *'];

/** An ordered list of rules; the first that matches decides, and a packet that none matches is rejected. */
export interface ExitPolicy {
  /** In order. */
  readonly rules: readonly ExitRule[];
}

/** A rule of an exit policy, as it is applied. */
export interface ExitRule {
  /** What is done with a packet that matches. */
  readonly accept: boolean;
  /** Undefined: every address of both families. */
  readonly prefix: Prefix | undefined;
  /** IP protocol numbers; undefined: every one. */
  readonly protocols: readonly number[] | undefined;
  /** Ranges, ends included; a rule with ports is of TCP and UDP; undefined: every one. */
  readonly ports: readonly (readonly [number, number])[] | undefined;
}

const PROTOCOLS: Readonly<Record<string, readonly number[]>> = {
  tcp: [IpProtocol.TCP],
  udp: [IpProtocol.UDP],
  icmp: [IpProtocol.ICMP, IpProtocol.ICMPV6],
};
const TCP_AND_UDP = [IpProtocol.TCP, IpProtocol.UDP];

const RULE =
  /^(accept|reject)\s+(?:(\*)|\[([^\]]+)\]|(\d+\.\d+\.\d+\.\d+(?:\/\d+)?))(?::([\d,-]+|\*))?(?:\/(tcp|udp|icmp))?$/;

/**
 * Parses rules such as "accept 0.0.0.0/0:80,443/tcp", "reject *:25", "accept [2001:db8::/32]:1-1023/udp": a target
 * ("*", an IPv4 block, an IPv6 block in brackets), then ports, then a protocol, the last two optional.
 * @param where - what holds the rules, for error messages ("relay.yaml")
 * @throws RangeError naming the rule and what is wrong with it
 */
export function parseExitPolicy(lines: readonly string[], where: string): ExitPolicy {
  return {
    rules: lines.map((line, index) => parseExitRule(line, `${where}: exit policy rule ${index + 1}`)),
  };
}

/** One rule of `parseExitPolicy`. @throws RangeError */
export function parseExitRule(text: string, where: string): ExitRule {
  const match = RULE.exec(text.trim());
  if (match === null) {
    throw new RangeError(
      `${where}: '${text}' is not a rule; write for example "accept 0.0.0.0/0:80,443/tcp", ` +
        '"accept [2001:db8::/32]:443" or "reject *:25"',
    );
  }
  const [, verb, any, ip6, ip4, ports, protocol] = match;
  if (ports !== undefined && protocol === 'icmp') {
    throw new RangeError(`${where}: '${text}': ICMP has no ports; leave ':${ports}' out`);
  }
  return {
    accept: verb === 'accept',
    prefix:
      any === undefined
        ? parseTarget(ip6 ?? ip4, ip6 === undefined ? 4 : 6, `${where}: '${text}'`)
        : undefined,
    protocols: protocol !== undefined ? PROTOCOLS[protocol] : ports !== undefined ? TCP_AND_UDP : undefined,
    ports: ports === undefined || ports === '*' ? undefined : parsePorts(ports, `${where}: '${text}'`),
  };
}

function parseTarget(text: string, family: Family, where: string): Prefix {
  let prefix: Prefix;
  try {
    prefix = text.includes('/') ? parsePrefix(text) : hostPrefix(parseAddress(text));
  } catch (error) {
    throw new RangeError(`${where}: ${(error as Error).message}`);
  }
  if (prefix.family !== family) throw new RangeError(`${where}: brackets are for IPv6 blocks only`);
  return prefix;
}

function parsePorts(text: string, where: string): (readonly [number, number])[] {
  return text.split(',').map((range) => {
    const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(range) ?? [];
    const [low, high] = [Number(first), Number(last)];
    if (!(low >= 1 && low <= high && high <= 65535)) {
      throw new RangeError(`${where}: '${range}' is not a port or a range of ports from 1 to 65535`);
    }
    return [low, high] as const;
  });
}

/** The first rule that never decides, because an earlier one has what it matches: their indices. */
export function coveredRule({
  rules,
}: ExitPolicy): { readonly rule: number; readonly by: number } | undefined {
  for (const [rule, covered] of rules.entries()) {
    const by = rules.slice(0, rule).findIndex((earlier) => covers(earlier, covered));
    if (by >= 0) return { rule, by };
  }
  return undefined;
}

/** Whether `a` matches whatever `b` does. */
function covers(a: ExitRule, b: ExitRule): boolean {
  const prefix = a.prefix === undefined || (b.prefix !== undefined && contains(a.prefix, b.prefix));
  const protocols =
    a.protocols === undefined || (b.protocols?.every((protocol) => a.protocols!.includes(protocol)) ?? false);
  const ports =
    a.ports === undefined ||
    (b.ports?.every(([low, high]) => a.ports!.some(([first, last]) => first <= low && high <= last)) ??
      false);
  return prefix && protocols && ports;
}

function contains(outer: Prefix, inner: Prefix): boolean {
  return outer.family === inner.family && outer.length <= inner.length && prefixContains(outer, inner.bytes);
}

/** Whether all that the rule matches is what no exit lets out, whatever its policy. */
export function isNeverReached({ prefix }: ExitRule): boolean {
  return prefix !== undefined && specialRanges(prefix.family).some((range) => contains(range, prefix));
}

/** Whether the packet may leave. The caller has seen that TCP and UDP packets hold their ports. */
export function exitPolicyAccepts(policy: ExitPolicy, buffer: Uint8Array, header: IpHeader): boolean {
  const port = (buffer[header.payload + 2] << 8) | buffer[header.payload + 3];
  for (const rule of policy.rules) {
    if (rule.protocols !== undefined && !rule.protocols.includes(header.protocol)) continue;
    if (rule.ports !== undefined && !rule.ports.some(([low, high]) => port >= low && port <= high)) continue;
    if (rule.prefix !== undefined) {
      if (rule.prefix.family !== header.family) continue;
      if (!prefixContains(rule.prefix, buffer, header.destination)) continue;
    }
    return rule.accept;
  }
  return false;
}

/**
 * Whether a policy that somebody states lets a kind of traffic out. Without a destination, rules for a part of the Internet
 * say nothing: the first rule for all of it decides.
 * @param protocol - TCP or UDP (IANA's number)
 */
export function exitPolicyPermits(
  policy: ExitPolicy,
  protocol: number,
  port: number,
  destination?: { readonly family: Family; readonly bytes: Uint8Array },
): boolean {
  const rule = policy.rules.find(
    ({ prefix, protocols, ports }) =>
      (protocols === undefined || protocols.includes(protocol)) &&
      (ports === undefined || ports.some(([low, high]) => port >= low && port <= high)) &&
      (prefix === undefined ||
        (destination === undefined
          ? prefix.length === 0
          : prefix.family === destination.family && prefixContains(prefix, destination.bytes))),
  );
  return rule?.accept === true;
}
