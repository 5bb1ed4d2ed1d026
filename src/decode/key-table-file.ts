import { fromHex, hex } from '../wire/bytes.ts';
import {
  TABLE_ENCRYPTION,
  TABLE_INTEGRITY,
  type TableEncryption,
  type TableIntegrity,
} from './algorithms.ts';
import type { DirectionKeys } from './ciphers.ts';

/** A line of an `ikev2_decryption_table` that cannot be used: which, why, and what to do. Never tells a key. */
export class KeyTableError extends Error {
  override readonly name = 'KeyTableError';
}

/** The keys of IKE SAs, by their SPIs: the last ones of an IKE SA first, for IKE_INTERMEDIATE changes them (RFC 9370 2.2.2). */
export type KeyTable = ReadonlyMap<string, readonly SaKeys[]>;

export interface SaKeys {
  /** For what the original initiator sends. */
  readonly initiator: DirectionKeys;
  readonly responder: DirectionKeys;
}

/** How a KeyTable names an IKE SA. */
export function saName(spiI: Uint8Array, spiR: Uint8Array): string {
  return `${hex(spiI)}:${hex(spiR)}`;
}

const FIELDS = ['SPIi', 'SPIr', 'SK_ei', 'SK_er', 'encryption', 'SK_ai', 'SK_ar', 'integrity'] as const;
const EXAMPLE =
  '<SPIi>,<SPIr>,<SK_ei>,<SK_er>,"AES-CBC-256 [RFC3602]",<SK_ai>,<SK_ar>,"HMAC_SHA2_256_128 [RFC4868]"';

/**
 * Reads an `ikev2_decryption_table` as Wireshark does: comma-separated fields, algorithm names in double quotes, keys in hex;
 * lines that start with "#" are comments. There may be several lines for one IKE SA.
 * @param file - its name, for errors
 * @throws KeyTableError
 */
export function parseKeyTable(text: string, file: string): KeyTable {
  const table = new Map<string, SaKeys[]>();
  text.split(/\r?\n/).forEach((line, index) => {
    const content = line.trim();
    if (content === '' || content.startsWith('#')) return;
    const fail = (problem: string): never => {
      throw new KeyTableError(`${file}:${index + 1}: ${problem}`);
    };
    const [name, keys] = parseLine(content, fail);
    table.set(name, [keys, ...(table.get(name) ?? [])]);
  });
  return table;
}

function parseLine(content: string, fail: (problem: string) => never): [string, SaKeys] {
  const fields = splitFields(content);
  if (fields?.length !== FIELDS.length) fail(`not eight fields with commas between them; write ${EXAMPLE}`);
  const octets = (index: number) => hexField(fields[index], FIELDS[index], fail);
  const encryption = algorithm(TABLE_ENCRYPTION, fields[4], 'encryption', fail);
  const integrity = algorithm(TABLE_INTEGRITY, fields[7], 'integrity', fail);
  if (encryption.icvLength > 0 && integrity.name !== NO_INTEGRITY) {
    fail(
      `${encryption.name} has an ICV of its own; write "${NO_INTEGRITY}" after it, not "${integrity.name}"`,
    );
  }
  const [spiI, spiR] = [octets(0), octets(1)];
  checkLength(spiI, 'SPIi', 8, 'an SPI', fail);
  checkLength(spiR, 'SPIr', 8, 'an SPI', fail);
  const direction = (encryptionAt: number, integrityAt: number): DirectionKeys => {
    const encryptionKey = octets(encryptionAt);
    const integrityKey = octets(integrityAt);
    const keyLength = encryption.keyLength + encryption.saltLength;
    checkLength(encryptionKey, FIELDS[encryptionAt], keyLength, encryption.name, fail);
    checkLength(integrityKey, FIELDS[integrityAt], integrity.keyLength, integrity.name, fail);
    return { encryption, integrity, encryptionKey, integrityKey };
  };
  return [saName(spiI, spiR), { initiator: direction(2, 5), responder: direction(3, 6) }];
}

/** The fields of a line, with their quotes; undefined if a quote is out of place. */
function splitFields(line: string): string[] | undefined {
  const field = /\s*("[^"]*"|[^",]*)\s*(,|$)/y;
  const fields: string[] = [];
  for (;;) {
    const match = field.exec(line);
    if (match === null) return undefined;
    fields.push(match[1].trim());
    if (match[2] === '') return fields;
  }
}

const NO_INTEGRITY = 'NONE [RFC4306]';

function hexField(field: string, what: string, fail: (problem: string) => never): Uint8Array {
  try {
    return fromHex(field === '""' ? '' : field);
  } catch {
    return fail(`${what} is not hex; write two hex digits for each octet, without quotes`);
  }
}

function algorithm<T extends TableEncryption | TableIntegrity>(
  known: readonly T[],
  field: string,
  kind: string,
  fail: (problem: string) => never,
): T {
  const name = field.replace(/^"(.*)"$/, '$1');
  const found = known.find((candidate) => candidate.name === name);
  if (found !== undefined) return found;
  const names = known.map((candidate) => `"${candidate.name}"`).join(', ');
  // What is in the wrong column may be a key.
  const told = /^[0-9a-f]*$/i.test(name) ? '' : ` "${name}"`;
  return fail(`unknown ${kind} algorithm${told}; write one of ${names}`);
}

function checkLength(
  octets: Uint8Array,
  what: string,
  expected: number,
  of: string,
  fail: (problem: string) => never,
): void {
  if (octets.length === expected) return;
  const remedy =
    expected === 0
      ? 'leave the field empty'
      : `write ${expected * 2} hex digits, with the salt if it has one`;
  fail(`${what} has ${octets.length} octets, but ${of} takes ${expected}; ${remedy}`);
}
