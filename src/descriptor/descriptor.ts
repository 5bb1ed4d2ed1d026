import { stringify } from 'yaml';
import { z } from 'zod';
import type { CryptoProvider, SigningKey } from '../crypto/provider.ts';
import { ED25519 } from '../crypto/signature-scheme.ts';
import { type Address, addressBytes, type Prefix, prefixContains, prefixText } from '../wire/address.ts';
import { hex, utf8 } from '../wire/bytes.ts';
import { base64 } from './base64.ts';
import { canonicalJson, DescriptorError, readDocument, type Section, validate } from './document.ts';
import { addressOf, byFamily, octets, operatorName, packetSize, poolOf, relayName } from './fields.ts';

/** The largest IP packet that an overlay tunnel of AES-GCM over IPv4 carries on a link of 1500 octets. */
export const DEFAULT_OVERLAY_MTU = 1446;

/** What is signed is this followed by the canonical JSON, so that the signature is good for nothing else. */
const SIGNATURE_DOMAIN = 'ike-telescope relay descriptor v1\n';

/** What a relay says of itself. */
export interface RelayStatement {
  /** 1 to 63 characters; need not be unique, for it is the key that identifies a relay. */
  readonly name: string;
  /** Public addresses: where it answers IKE and ESP. At least one. */
  readonly addresses: { readonly ip4?: Address; readonly ip6?: Address };
  /** What it assigns to clients from; disjoint from the pools of every relay that it is connected to. At least one. */
  readonly pools: { readonly ip4?: Prefix; readonly ip6?: Prefix };
  /** The largest IP packet that its overlay tunnels carry, in octets. */
  readonly overlayMtu: number;
  /** It lets packets out to the Internet. */
  readonly exit: boolean;
  /** Who runs it, by a name that their other relays state too: no path has two of one operator. */
  readonly operator?: string;
  /** Rules in order, as text; absent for the exit's default. */
  readonly exitPolicy?: readonly string[];
}

/** A relay's statement with its key, whose signature over it has been verified. */
export interface RelayDescriptor extends RelayStatement {
  /** SubjectPublicKeyInfo of an Ed25519 key, DER: what the relay proves in IKE_AUTH (RFC 7670). */
  readonly publicKey: Uint8Array;
  /** Names its key: hex of the first 16 octets of SHA-256 of `publicKey`. */
  readonly keyId: string;
}

const documentSchema = z.strictObject({
  version: z.literal(1),
  name: relayName,
  publicKey: octets(),
  addresses: byFamily(addressOf),
  pools: byFamily(poolOf),
  overlayMtu: packetSize.default(DEFAULT_OVERLAY_MTU),
  exit: z.boolean(),
  operator: operatorName.optional(),
  exitPolicy: z.array(z.string()).min(1).max(64).optional(),
  signature: octets(64),
});

/** Names a relay's key in tables and files: hex of the first 16 octets of SHA-256 of its SubjectPublicKeyInfo. */
export function keyId(publicKey: Uint8Array, crypto: CryptoProvider): string {
  return hex(crypto.hash('sha256', publicKey).subarray(0, 16));
}

/**
 * The signed descriptor as YAML text, to be handed to clients and to other relays.
 * @throws DescriptorError if its readers would refuse it
 */
export function signDescriptor(statement: RelayStatement, key: SigningKey, crypto: CryptoProvider): string {
  if (key.type !== 'ed25519') {
    throw new DescriptorError(`a descriptor is signed by an Ed25519 key, this one is of type ${key.type}`);
  }
  const unsigned = {
    version: 1 as const,
    name: statement.name,
    publicKey: base64(key.publicKey),
    addresses: present(statement.addresses),
    pools: present({
      ip4: optional(statement.pools.ip4, prefixText),
      ip6: optional(statement.pools.ip6, prefixText),
    }),
    overlayMtu: statement.overlayMtu,
    exit: statement.exit,
    ...present({ operator: statement.operator, exitPolicy: statement.exitPolicy?.slice() }),
  };
  const signature = base64(crypto.signatures.sign(key, ED25519, signedOctets(unsigned)));
  const text = stringify({ ...unsigned, signature }, { lineWidth: 0 });
  parseDescriptor(text, crypto, `the descriptor of relay '${statement.name}'`);
  return text;
}

/**
 * Reads a descriptor (YAML or JSON) and verifies its signature.
 * @param where - the file's name, for error messages
 * @throws DescriptorError naming `where`, the field and the remedy
 */
export function parseDescriptor(text: string, crypto: CryptoProvider, where: string): RelayDescriptor {
  return descriptorFrom(readDocument(text, where), crypto);
}

/** `parseDescriptor` for a document that is part of another one. */
export function descriptorFrom(section: Section, crypto: CryptoProvider): RelayDescriptor {
  const { version: _, signature, ...statement } = validate(documentSchema, section);
  const refuse = (field: readonly string[], problem: string) =>
    new DescriptorError(section.complaint(field, problem));
  const { publicKey, addresses, pools } = statement;
  if (crypto.signatures.keyTypeOf(publicKey) !== 'ed25519') {
    throw refuse(
      ['publicKey'],
      `not the SubjectPublicKeyInfo of an Ed25519 key (44 octets of DER in base64, ` +
        'as "openssl pkey -pubout -outform DER" writes it)',
    );
  }
  const { signature: __, ...unsigned } = section.value as Readonly<Record<string, unknown>>;
  if (!crypto.signatures.verify(ED25519, publicKey, signedOctets(unsigned), signature)) {
    throw refuse(
      ['signature'],
      `not by publicKey over this descriptor; it was altered or damaged: ` +
        'get it again from its operator, who signs it again after every change',
    );
  }
  for (const family of ['ip4', 'ip6'] as const) {
    const [pool, address] = [pools[family], addresses[family]];
    if (pool !== undefined && address !== undefined && prefixContains(pool, addressBytes(address))) {
      throw refuse(
        ['pools', family],
        `${prefixText(pool)} contains the relay's own address; choose another block`,
      );
    }
  }
  return { ...statement, keyId: keyId(publicKey, crypto) };
}

function signedOctets(unsigned: object): Uint8Array {
  return utf8(SIGNATURE_DOMAIN + canonicalJson(unsigned));
}

function optional<T, R>(value: T | undefined, map: (value: T) => R): R | undefined {
  return value === undefined ? undefined : map(value);
}

/** Without the members that are undefined. */
function present<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
