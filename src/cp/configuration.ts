import type { AssignedAddresses } from '../link/sa-store.ts';
import { type Address, addressBytes, addressText, familyOf } from '../wire/address.ts';
import { concat } from '../wire/bytes.ts';
import { WireError } from '../wire/reader.ts';
import type { AddressRequest } from './assigner.ts';
import { type ConfigAttribute, ConfigAttributeType } from './attributes.ts';

const { INTERNAL_IP4_ADDRESS, INTERNAL_IP4_DNS, INTERNAL_IP6_ADDRESS, INTERNAL_IP6_DNS } =
  ConfigAttributeType;

/** RFC 7296 3.15.1: octets of a value, if it is not empty. */
const VALUE_LENGTH: Readonly<Record<number, number>> = {
  [INTERNAL_IP4_ADDRESS]: 4,
  [ConfigAttributeType.INTERNAL_IP4_NETMASK]: 4,
  [INTERNAL_IP4_DNS]: 4,
  [ConfigAttributeType.INTERNAL_IP4_NBNS]: 4,
  [ConfigAttributeType.INTERNAL_IP4_DHCP]: 4,
  [INTERNAL_IP6_ADDRESS]: 17,
  [INTERNAL_IP6_DNS]: 16,
  [ConfigAttributeType.INTERNAL_IP6_DHCP]: 16,
  [ConfigAttributeType.INTERNAL_IP4_SUBNET]: 8,
  [ConfigAttributeType.INTERNAL_IP6_SUBNET]: 17,
};

/** A CFG_REQUEST's attributes. All are empty: the responder chooses, and a former address says nothing of us. */
export function configRequest(request: AddressRequest): ConfigAttribute[] {
  const types: number[] = [];
  if (request.ip4) types.push(INTERNAL_IP4_ADDRESS);
  if (request.ip4Dns) types.push(INTERNAL_IP4_DNS);
  if (request.ip6) types.push(INTERNAL_IP6_ADDRESS);
  if (request.ip6Dns) types.push(INTERNAL_IP6_DNS);
  return types.map((type) => ({ type, value: new Uint8Array(0) }));
}

/**
 * What a CFG_REQUEST asks for: one of each at most, whatever the number of attributes. A specific address asked for is
 * not looked at; an attribute of a wrong length asks for nothing.
 */
export function requestedAddresses(attributes: readonly ConfigAttribute[]): AddressRequest {
  const asks = (wanted: number) =>
    attributes.some(({ type, value }) => type === wanted && hasSoundLength(type, value));
  return {
    ip4: asks(INTERNAL_IP4_ADDRESS),
    ip6: asks(INTERNAL_IP6_ADDRESS),
    ip4Dns: asks(INTERNAL_IP4_DNS),
    ip6Dns: asks(INTERNAL_IP6_DNS),
  };
}

/** A CFG_REPLY's attributes. */
export function configReply({ ip4, ip6, dns }: AssignedAddresses): ConfigAttribute[] {
  const attributes: ConfigAttribute[] = [];
  if (ip4 !== undefined) attributes.push({ type: INTERNAL_IP4_ADDRESS, value: addressBytes(ip4) });
  if (ip6 !== undefined) {
    const value = concat(addressBytes(ip6.address), Uint8Array.of(ip6.prefixLength));
    attributes.push({ type: INTERNAL_IP6_ADDRESS, value });
  }
  for (const server of dns) {
    const type = familyOf(server) === 4 ? INTERNAL_IP4_DNS : INTERNAL_IP6_DNS;
    attributes.push({ type, value: addressBytes(server) });
  }
  return attributes;
}

/**
 * The addresses in a CFG_REPLY; empty values and attributes that we never ask for are passed over.
 * @throws WireError for a wrong length, an impossible prefix length, or two addresses of one family
 */
export function assignedAddresses(attributes: readonly ConfigAttribute[]): AssignedAddresses {
  let ip4: AssignedAddresses['ip4'];
  let ip6: AssignedAddresses['ip6'];
  const dns: Address[] = [];
  for (const { type, value } of attributes) {
    if (!hasSoundLength(type, value)) {
      throw new WireError(`configuration attribute ${type} has ${value.length} octets`);
    }
    if (value.length === 0) continue;
    switch (type) {
      case INTERNAL_IP4_ADDRESS:
        if (ip4 !== undefined) throw new WireError('two INTERNAL_IP4_ADDRESS attributes');
        ip4 = addressText(value);
        break;
      case INTERNAL_IP6_ADDRESS:
        if (ip6 !== undefined) throw new WireError('two INTERNAL_IP6_ADDRESS attributes');
        if (value[16] > 128) throw new WireError(`INTERNAL_IP6_ADDRESS: prefix length ${value[16]}`);
        ip6 = { address: addressText(value.subarray(0, 16)), prefixLength: value[16] };
        break;
      case INTERNAL_IP4_DNS:
      case INTERNAL_IP6_DNS:
        dns.push(addressText(value));
        break;
    }
  }
  return { ...(ip4 !== undefined && { ip4 }), ...(ip6 !== undefined && { ip6 }), dns };
}

function hasSoundLength(type: number, value: Uint8Array): boolean {
  const length = VALUE_LENGTH[type];
  return length === undefined || value.length === 0 || value.length === length;
}
