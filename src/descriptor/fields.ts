import { z } from 'zod';
import {
  type Address,
  type Family,
  familyOf,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixContains,
  prefixText,
} from '../wire/address.ts';
import { fromBase64 } from './base64.ts';
import { PRIVATE_BLOCKS } from './outer-family.ts';

export const relayName = z
  .string('must be text; put it in quotes')
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'must be 1 to 63 letters, digits, dots, hyphens or underscores',
  );

/** Names whoever runs a relay, such as a domain. */
export const operatorName = z
  .string('must be text; put it in quotes')
  .regex(/^[\x21-\x7e]{1,128}$/, 'must be 1 to 128 printable ASCII characters, without spaces');

/** At least one of both families. */
export function byFamily<T>(field: (family: Family) => z.ZodType<T>) {
  return z
    .strictObject({ ip4: field(4).optional(), ip6: field(6).optional() })
    .refine((value) => value.ip4 !== undefined || value.ip6 !== undefined, 'needs ip4, ip6 or both');
}

/** A text that `parse` takes; what it throws is the complaint. */
export function parsed<T>(parse: (text: string) => T) {
  return z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  });
}

export function addressOf(family: Family) {
  return parsed((text): Address => {
    const address = parseAddress(text);
    if (familyOf(address) !== family) throw new RangeError(`'${text}' is not an IPv${family} address`);
    return address;
  });
}

/** A block that a relay assigns addresses from: an address of a client must mean nothing to anybody else. */
export function poolOf(family: Family) {
  const blocks = PRIVATE_BLOCKS.filter((block) => block.family === family);
  return parsed((text): Prefix => {
    const pool = parsePrefix(text);
    if (pool.family !== family) throw new RangeError(`'${text}' is not an IPv${family} address block`);
    if (!blocks.some((block) => pool.length >= block.length && prefixContains(block, pool.bytes))) {
      throw new RangeError(
        `'${text}' is not a private block: choose one inside ${blocks.map(prefixText).join(', ')}`,
      );
    }
    return pool;
  });
}

/** Base64 (RFC 4648 section 4). @param length - in octets; any if absent */
export function octets(length?: number) {
  return parsed((text) => {
    const bytes = fromBase64(text);
    if (bytes === undefined) throw new RangeError('not base64 (RFC 4648 section 4, with padding)');
    if (length !== undefined && bytes.length !== length) {
      throw new RangeError(`must be ${length} octets in base64, has ${bytes.length}`);
    }
    return bytes;
  });
}

/** The largest packet of a network or a tunnel. */
export const packetSize = z.int().min(576).max(65_535);
