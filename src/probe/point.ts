/** What a probe has found out about one thing that a relay needs. */
export interface Point {
  /** For programs; the same in every version. */
  readonly id: PointId;
  readonly status: 'pass' | 'fail' | 'unknown';
  /** What was seen. */
  readonly reason: string;
  /** What to do about it. */
  readonly remedy?: string;
}

/** The things that a relay needs, in the order in which they are found out. */
export const POINTS = {
  'ike-sa-init': 'answers IKE_SA_INIT',
  'client-authentication': 'takes clients that prove nothing',
  proof: 'proves itself by a key',
  address: 'assigns an address',
  selectors: 'narrows to that address alone',
  'nat-traversal': 'uses plain ESP where there is no NAT',
  'shared-identity': 'serves several clients of one identity',
  icmp: 'carries ICMP',
  udp: 'carries UDP',
  tcp: 'carries TCP',
  dscp: 'does not copy DSCP to outer headers',
  ecn: 'does not copy ECN to outer headers',
  ttl: 'has constant TTLs in outer headers',
  relay: 'forwards to another relay',
} as const;
export type PointId = keyof typeof POINTS;
