import { decodeGenericHeader, MAX_PAYLOADS } from '../ike/payload/generic-header.ts';
import { decodePayloads, type Payload, PayloadType } from '../ike/payload/index.ts';
import { addressText } from '../wire/address.ts';
import { hex } from '../wire/bytes.ts';
import { Reader, WireError } from '../wire/reader.ts';
import {
  ATTRIBUTE_NAMES,
  AUTHENTICATION_NAMES,
  CERTIFICATE_NAMES,
  CONFIGURATION_NAMES,
  IDENTIFICATION_NAMES,
  KEY_EXCHANGE_NAMES,
  NOTIFY_NAMES,
  PAYLOAD_NAMES,
  PROTOCOL_NAMES,
  registeredName,
  TRANSFORM_TYPE_NAMES,
  transformName,
} from './registries.ts';

/** What JSON can say. Octets are hex, registered numbers are their IANA names (those without one in decimal). */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [key: string]: Json;
}

/** A payload chain as far as it could be read, and what stopped the reading. */
export interface DescribedChain {
  readonly payloads: readonly JsonObject[];
  /** The SK or SKF payload that ends the chain. */
  readonly encrypted?: EncryptedPayload;
  readonly error?: string;
}

export interface EncryptedPayload {
  readonly type: number;
  /** Type of the first payload in it. */
  readonly next: number;
  /** Where its body starts in the octets that were read. */
  readonly offset: number;
}

/**
 * Describes the payloads of a message, or those that were in an Encrypted payload. A payload that does not parse becomes an
 * object with `error` and `data`. Never throws.
 * @param first - the Next Payload value that leads to the chain
 */
export function describeChain(first: number, bytes: Uint8Array, start: number): DescribedChain {
  const reader = new Reader(bytes, 'payloads');
  reader.bytes(start);
  const payloads: JsonObject[] = [];
  try {
    for (let type = first; type !== PayloadType.NONE; ) {
      if (payloads.length === MAX_PAYLOADS) throw new WireError(`more than ${MAX_PAYLOADS} payloads`);
      const offset = reader.offset;
      const { next, body } = decodeGenericHeader(type, reader);
      if (type === PayloadType.SK || type === PayloadType.SKF) {
        payloads.push({ type: registeredName(PAYLOAD_NAMES, type), length: body.remaining });
        reader.expectEnd();
        return { payloads, encrypted: { type, next, offset: offset + 4 } };
      }
      payloads.push(describeOne(type, bytes.slice(offset, reader.offset)));
      type = next;
    }
    reader.expectEnd();
    return { payloads };
  } catch (error) {
    return { payloads, error: wireErrorText(error) };
  }
}

/** @param bytes - the payload with its generic header */
function describeOne(type: number, bytes: Uint8Array): JsonObject {
  bytes[0] = PayloadType.NONE;
  const name = registeredName(PAYLOAD_NAMES, type);
  try {
    return { type: name, ...fieldsOf(decodePayloads(type, bytes)[0]) };
  } catch (error) {
    return { type: name, data: hex(bytes.subarray(4)), error: wireErrorText(error) };
  }
}

/** The text of a WireError; anything else is a fault of ours and goes on. */
function wireErrorText(error: unknown): string {
  if (error instanceof WireError) return error.message;
  throw error;
}

function fieldsOf(payload: Payload): JsonObject {
  switch (payload.kind) {
    case 'SA':
      return {
        proposals: payload.proposals.map(({ number, protocol, spi, transforms }) => ({
          number,
          protocol: registeredName(PROTOCOL_NAMES, protocol),
          spi: hex(spi),
          transforms: transforms.map(({ type, id, keyLength }) => ({
            type: registeredName(TRANSFORM_TYPE_NAMES, type),
            id: transformName(type, id),
            ...(keyLength !== undefined && { keyLength }),
          })),
        })),
      };
    case 'KE':
      return { method: registeredName(KEY_EXCHANGE_NAMES, payload.method), data: hex(payload.data) };
    case 'IDi':
    case 'IDr':
      return { id: registeredName(IDENTIFICATION_NAMES, payload.type), ...identity(payload) };
    case 'CERT':
    case 'CERTREQ':
      return { encoding: registeredName(CERTIFICATE_NAMES, payload.encoding), data: hex(payload.data) };
    case 'AUTH':
      return { method: registeredName(AUTHENTICATION_NAMES, payload.method), data: hex(payload.data) };
    case 'NONCE':
      return { data: hex(payload.data) };
    case 'NOTIFY':
      return {
        notify: registeredName(NOTIFY_NAMES, payload.type),
        protocol: registeredName(PROTOCOL_NAMES, payload.protocol),
        spi: hex(payload.spi),
        data: hex(payload.data),
      };
    case 'DELETE':
      return { protocol: registeredName(PROTOCOL_NAMES, payload.protocol), spis: payload.spis.map(hex) };
    case 'PS':
      return { data: hex(payload.data) };
    case 'VENDOR_ID':
      return { data: hex(payload.data), ...printable(payload.data) };
    case 'TSi':
    case 'TSr':
      return {
        selectors: payload.selectors.map(({ protocol, startPort, endPort, startAddress, endAddress }) => ({
          protocol,
          startPort,
          endPort,
          startAddress: addressText(startAddress),
          endAddress: addressText(endAddress),
        })),
      };
    case 'CP':
      return {
        configuration: registeredName(CONFIGURATION_NAMES, payload.type),
        attributes: payload.attributes.map(({ type, value }) => ({
          attribute: registeredName(ATTRIBUTE_NAMES, type),
          data: hex(value),
          ...attributeText(registeredName(ATTRIBUTE_NAMES, type), value),
        })),
      };
    case 'UNKNOWN':
      return { critical: payload.critical, data: hex(payload.data) };
  }
}

const ID_IPV4_ADDR = 1;
const ID_FQDN = 2;
const ID_RFC822_ADDR = 3;
const ID_IPV6_ADDR = 5;

function identity({ type, data }: { readonly type: number; readonly data: Uint8Array }): JsonObject {
  const octets = hex(data);
  const isAddress =
    (type === ID_IPV4_ADDR && data.length === 4) || (type === ID_IPV6_ADDR && data.length === 16);
  if (isAddress) return { data: octets, text: addressText(data) };
  return { data: octets, ...((type === ID_FQDN || type === ID_RFC822_ADDR) && printable(data)) };
}

/** RFC 7296 3.15.1: addresses, and addresses with a prefix length. */
function attributeText(name: string, value: Uint8Array): JsonObject {
  if (name === 'APPLICATION_VERSION' || name === 'INTERNAL_DNS_DOMAIN') return printable(value);
  if (name.includes('IP4') && value.length === 4) return { text: addressText(value) };
  if (!name.includes('IP6')) return {};
  if (value.length === 16) return { text: addressText(value) };
  return value.length === 17 ? { text: `${addressText(value.subarray(0, 16))}/${value[16]}` } : {};
}

/** The octets as text if all of them are printable ASCII: nothing in a capture may write to the terminal. */
function printable(data: Uint8Array): JsonObject {
  const text = String.fromCharCode(...data.subarray(0, MAX_TEXT));
  return data.length <= MAX_TEXT && /^[\x20-\x7e]+$/.test(text) ? { text } : {};
}

const MAX_TEXT = 1024;
