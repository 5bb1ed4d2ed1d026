/** Configuration attribute types (RFC 7296 3.15.1, RFC 5739). */
export const ConfigAttributeType = {
  INTERNAL_IP4_ADDRESS: 1,
  INTERNAL_IP4_NETMASK: 2,
  INTERNAL_IP4_DNS: 3,
  INTERNAL_IP4_NBNS: 4,
  INTERNAL_IP4_DHCP: 6,
  INTERNAL_IP6_ADDRESS: 8,
  INTERNAL_IP6_DNS: 10,
  INTERNAL_IP6_DHCP: 12,
  INTERNAL_IP4_SUBNET: 13,
  INTERNAL_IP6_SUBNET: 15,
} as const;

/** One attribute as on the wire. */
export interface ConfigAttribute {
  /** Of `ConfigAttributeType`. */
  readonly type: number;
  /** Empty: the responder is to choose. */
  readonly value: Uint8Array;
}

/** CFG Type of a Configuration Payload (RFC 7296 3.15). */
export const ConfigType = { CFG_REQUEST: 1, CFG_REPLY: 2, CFG_SET: 3, CFG_ACK: 4 } as const;
