import { createCipheriv, createHmac } from 'node:crypto';
import { encodeHeader, type HeaderFields } from '../../src/ike/header.ts';
import { encodePayloads, type Payload, PayloadType } from '../../src/ike/payload/index.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { concat, fromHex, hex } from '../../src/wire/bytes.ts';
import { IpProtocol, ipHeaderLength, writeIpHeader, writeUdpHeader } from '../../src/wire/ip.ts';
import { Writer } from '../../src/wire/writer.ts';

export interface Ends {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export const ENDS: Ends = {
  source: '192.0.2.1',
  destination: '192.0.2.2',
  sourcePort: 500,
  destinationPort: 500,
};

/** An IP packet with a UDP datagram; on port 4500 with the non-ESP marker unless `payload` starts with one. */
export function udpPacket(payload: Uint8Array, ends: Ends = ENDS): Uint8Array {
  const source = addressBytes(ends.source);
  const start = ipHeaderLength(source.length === 4 ? 4 : 6);
  const packet = new Uint8Array(start + 8 + payload.length);
  packet.set(payload, start + 8);
  const destination = addressBytes(ends.destination);
  writeIpHeader(packet, 0, { source, destination, protocol: IpProtocol.UDP }, payload.length + 8);
  const { sourcePort, destinationPort } = ends;
  writeUdpHeader(packet, start, packet.length, { source, destination, sourcePort, destinationPort });
  return packet;
}

/** A pcap file of the classic format. */
export function pcapFile(
  frames: readonly Uint8Array[],
  {
    linkType = 101,
    little = true,
    nanos = false,
  }: Partial<{ linkType: number; little: boolean; nanos: boolean }> = {},
): Uint8Array {
  const header = new Uint8Array(24);
  const view = new DataView(header.buffer);
  view.setUint32(0, nanos ? 0xa1b23c4d : 0xa1b2c3d4, little);
  view.setUint16(4, 2, little);
  view.setUint16(6, 4, little);
  view.setUint32(16, 65_535, little);
  view.setUint32(20, linkType, little);
  const records = frames.map((frame, index) => {
    const record = new Uint8Array(16 + frame.length);
    const fields = new DataView(record.buffer);
    fields.setUint32(0, 1_700_000_000 + index, little);
    fields.setUint32(4, 123_456, little);
    fields.setUint32(8, frame.length, little);
    fields.setUint32(12, frame.length, little);
    record.set(frame, 16);
    return record;
  });
  return concat(header, ...records);
}

/** Algorithms by the names that `ikev2_decryption_table` has for them, with the keys of the sender. */
export interface Sealing {
  readonly encryption: string;
  readonly integrity: string;
  readonly encryptionKey: Uint8Array;
  readonly integrityKey: Uint8Array;
}

/** How a cipher is called by OpenSSL and laid out on the wire; worked out from its name. */
export function cipherOf(name: string) {
  const [, mode, bits, icv] = /^AES-([A-Z]+)-(\d+)(?: with (\d+) octet ICV)? \[/.exec(name) ?? [];
  if (mode !== undefined) {
    const saltLength = { CBC: 0, CTR: 4, CCM: 3, GCM: 4 }[mode]!;
    return {
      openssl: `aes-${bits}-${mode.toLowerCase()}`,
      keyLength: Number(bits) / 8,
      saltLength,
      ivLength: mode === 'CBC' ? 16 : 8,
      blockLength: mode === 'CBC' ? 16 : 1,
      icvLength: Number(icv ?? 0),
    };
  }
  const other = { keyLength: 0, saltLength: 0, ivLength: 0, blockLength: 1, icvLength: 0 };
  if (name.startsWith('3DES')) {
    return { ...other, openssl: 'des-ede3-cbc', keyLength: 24, ivLength: 8, blockLength: 8 };
  }
  if (name.startsWith('ChaCha20')) {
    return {
      openssl: 'chacha20-poly1305',
      keyLength: 32,
      saltLength: 4,
      ivLength: 8,
      blockLength: 1,
      icvLength: 16,
    };
  }
  return { ...other, openssl: '' };
}

const HASHES: Readonly<Record<string, readonly [string, number]>> = {
  MD5: ['md5', 16],
  SHA1: ['sha1', 20],
  SHA2_256: ['sha256', 32],
  SHA2_384: ['sha384', 48],
  SHA2_512: ['sha512', 64],
};

export function hmacOf(name: string) {
  const [, hash, bits] = /^HMAC_(.+)_(\d+) \[/.exec(name) ?? [];
  if (hash !== undefined) {
    const [openssl, keyLength] = HASHES[hash];
    return { openssl, keyLength, icvLength: Number(bits) / 8 };
  }
  const any = /^ANY (\d+)-bits/.exec(name)?.[1];
  return { openssl: undefined, keyLength: 0, icvLength: Number(any ?? 0) / 8 };
}

/** HDR, SK {payloads} or HDR, SKF {part of them} (RFC 7296 3.14, RFC 7383 2.5), with an IV of 0x55 octets. */
export function seal(
  fields: HeaderFields,
  { first, bytes }: { readonly first: number; readonly bytes: Uint8Array },
  sealing: Sealing,
  fragment?: { readonly number: number; readonly total: number },
): Uint8Array {
  const cipher = cipherOf(sealing.encryption);
  const hmac = hmacOf(sealing.integrity);
  const icvLength = cipher.icvLength || hmac.icvLength;
  const padLength = cipher.blockLength - 1 - (bytes.length % cipher.blockLength);
  const textLength = bytes.length + padLength + 1;
  const length = 4 + (fragment ? 4 : 0) + cipher.ivLength + textLength + icvLength;
  const out = new Writer();
  encodeHeader(fields, fragment ? PayloadType.SKF : PayloadType.SK, 28 + length, out);
  out
    .u8(fragment && fragment.number > 1 ? 0 : first)
    .u8(0)
    .u16(length);
  if (fragment) out.u16(fragment.number).u16(fragment.total);
  const aad = out.finish();
  const iv = new Uint8Array(cipher.ivLength).fill(0x55);
  const text = concat(bytes, new Uint8Array(padLength), Uint8Array.of(padLength));
  const key = sealing.encryptionKey.subarray(0, cipher.keyLength);
  const salt = sealing.encryptionKey.subarray(cipher.keyLength);
  if (cipher.icvLength > 0) {
    // Node types the options of AEAD ciphers by the names of ciphers.
    const options = { authTagLength: icvLength };
    const aead = createCipheriv(cipher.openssl as 'aes-128-ccm', key, concat(salt, iv), options);
    aead.setAAD(aad, { plaintextLength: text.length });
    const ciphertext = aead.update(text);
    aead.final();
    return concat(aad, iv, ciphertext, aead.getAuthTag());
  }
  const body = concat(aad, iv, encrypt(cipher.openssl, key, salt, iv, text));
  if (hmac.openssl === undefined) return concat(body, new Uint8Array(icvLength).fill(0x77));
  const icv = createHmac(hmac.openssl, sealing.integrityKey).update(body).digest();
  return concat(body, icv.subarray(0, icvLength));
}

function encrypt(
  openssl: string,
  key: Uint8Array,
  salt: Uint8Array,
  iv: Uint8Array,
  text: Uint8Array,
): Uint8Array {
  if (openssl === '') return text;
  if (openssl.endsWith('ctr')) {
    return createCipheriv(openssl, key, concat(salt, iv, fromHex('00000001'))).update(text);
  }
  return createCipheriv(openssl, key, iv).setAutoPadding(false).update(text);
}

/** Keys of the right lengths: octets that count up from `from`. */
export function sealingOf(encryption: string, integrity: string, from = 1): Sealing {
  const { keyLength, saltLength } = cipherOf(encryption);
  return {
    encryption,
    integrity,
    encryptionKey: counted(keyLength + saltLength, from),
    integrityKey: counted(hmacOf(integrity).keyLength, from + 100),
  };
}

function counted(length: number, from: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (from + index) & 255);
}

/** The line of an IKE SA that has the same keys in both directions. */
export function tableLine({ spiI, spiR }: HeaderFields, sealing: Sealing): string {
  const { encryption, integrity } = sealing;
  const [e, a] = [hex(sealing.encryptionKey), hex(sealing.integrityKey)];
  return `${hex(spiI)},${hex(spiR)},${e},${e},"${encryption}",${a},${a},"${integrity}"`;
}

export function informational(sa: number, messageId = 7): HeaderFields {
  const spi = (side: number) => fromHex(`${side}0${sa.toString(16).padStart(4, '0')}0000000000`.slice(0, 16));
  return {
    spiI: spi(1),
    spiR: spi(2),
    exchangeType: 37,
    flags: { initiator: true, response: false },
    messageId,
  };
}

export const AUTH: Payload = { kind: 'AUTH', method: 2, data: fromHex('000102030405060708090a0b0c0d0e0f') };

/** What every sealed message of these tests says. */
export const CONTENT = encodePayloads([AUTH]);

const AES_BITS = [128, 192, 256];
export const ENCRYPTION_NAMES = [
  '3DES [RFC2451]',
  ...AES_BITS.map((bits) => `AES-CBC-${bits} [RFC3602]`),
  ...AES_BITS.map((bits) => `AES-CTR-${bits} [RFC5930]`),
  'NULL [RFC2410]',
];
export const AEAD_NAMES = AES_BITS.flatMap((bits) =>
  ['GCM', 'CCM'].flatMap((mode) =>
    [16, 12, 8].map((icv) => `AES-${mode}-${bits} with ${icv} octet ICV [RFC5282]`),
  ),
);
export const INTEGRITY_NAMES = [
  'HMAC_MD5_96 [RFC2403]',
  'HMAC_SHA1_96 [RFC2404]',
  'HMAC_MD5_128 [RFC4595]',
  'HMAC_SHA1_160 [RFC4595]',
  'HMAC_SHA2_256_96 [draft-ietf-ipsec-ciph-sha-256-00]',
  'HMAC_SHA2_256_128 [RFC4868]',
  'HMAC_SHA2_384_192 [RFC4868]',
  'HMAC_SHA2_512_256 [RFC4868]',
];
export const UNCHECKED_NAMES = [
  'NONE [RFC4306]',
  ...[64, 96, 128, 160, 192, 256].map((bits) => `ANY ${bits}-bits of Authentication [No Checking]`),
];

/** Every pair of algorithms that a line of the table may have, without ChaCha20-Poly1305. */
export const PAIRS: readonly (readonly [string, string])[] = [
  ...AEAD_NAMES.map((name) => [name, 'NONE [RFC4306]'] as const),
  ...ENCRYPTION_NAMES.flatMap((name) =>
    [...INTEGRITY_NAMES, ...UNCHECKED_NAMES].map((i) => [name, i] as const),
  ),
];
