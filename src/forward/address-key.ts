import { type Address, addressBytes, type Family } from '../wire/address.ts';

/** An address as a map key: an unsigned 32-bit number for IPv4, eight UTF-16 units for IPv6. */
export type AddressKey = number | string;

/** The key of the address at `buffer[offset...]`. */
export function addressKey(buffer: Uint8Array, offset: number, family: Family): AddressKey {
  if (family === 4) {
    return (
      ((buffer[offset] << 24) |
        (buffer[offset + 1] << 16) |
        (buffer[offset + 2] << 8) |
        buffer[offset + 3]) >>>
      0
    );
  }
  let key = '';
  for (let i = offset; i < offset + 16; i += 2) key += String.fromCharCode((buffer[i] << 8) | buffer[i + 1]);
  return key;
}

export function keyOfAddress(address: Address): AddressKey {
  const bytes = addressBytes(address);
  return addressKey(bytes, 0, bytes.length === 4 ? 4 : 6);
}
