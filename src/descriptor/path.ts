import { z } from 'zod';
import type { CryptoProvider } from '../crypto/provider.ts';
import {
  DEFAULT_OVERLAY_MTU,
  descriptorFrom,
  keyId,
  parseDescriptor,
  type RelayDescriptor,
} from './descriptor.ts';
import { DescriptorError, readDocument, type Section, validate } from './document.ts';
import { addressOf, byFamily, octets, packetSize, poolOf, relayName } from './fields.ts';

/** A hop: a relay as its signed descriptor says, or a stock IPsec gateway as the author of the path says. */
export interface PathRelay extends RelayDescriptor {
  /** The shared key that everybody knows, for a relay that does not take NULL authentication. */
  readonly publicSharedKey?: string;
}

const pathSchema = z.strictObject({
  relays: z.array(z.record(z.string(), z.unknown())).min(1, 'a path has at least one relay'),
});
const sharedKey = z.string('must be text; put it in quotes').min(1, 'must not be empty');
const fileSchema = z.strictObject({
  descriptor: z.string().min(1),
  publicSharedKey: sharedKey.optional(),
});
const stockSchema = z.strictObject({
  stock: z.strictObject({
    name: relayName,
    publicKey: octets(),
    addresses: byFamily(addressOf),
    pools: byFamily(poolOf).default({}),
    overlayMtu: packetSize.default(DEFAULT_OVERLAY_MTU),
    publicSharedKey: sharedKey.optional(),
  }),
});

/**
 * Reads a path file (YAML or JSON): `relays:` lists the hops in order, entry first, each as `descriptor: FILE` (and
 * `publicSharedKey: TEXT`, if the relay wants one), as the descriptor itself, or, for a gateway that has none, as
 * `stock: { name, publicKey, addresses, pools, overlayMtu, publicSharedKey }`, which nobody has signed.
 * @param readFile - the text of a descriptor file, by the name that the path gives it; what it throws is reported
 * @throws DescriptorError naming the file, the hop and the field
 */
export function parsePath(
  text: string,
  where: string,
  readFile: (name: string) => string,
  crypto: CryptoProvider,
): readonly PathRelay[] {
  const document = readDocument(text, where);
  const { relays } = validate(pathSchema, document);
  const hops = relays.map((entry, index) => {
    const section = document.part('relays', index);
    if ('descriptor' in entry) return fromFile(section, readFile, crypto);
    return 'stock' in entry ? stockRelay(section, crypto) : descriptorFrom(section, crypto);
  });
  hops.forEach((hop, index) => {
    const first = hops.findIndex((other) => other.keyId === hop.keyId);
    if (first !== index) {
      throw new DescriptorError(
        document.complaint(
          ['relays', index],
          `relay '${hop.name}' is already hop ${first + 1}; a relay may be in a path once`,
        ),
      );
    }
  });
  return hops;
}

function fromFile(section: Section, readFile: (name: string) => string, crypto: CryptoProvider): PathRelay {
  const { descriptor, ...more } = validate(fileSchema, section);
  let content: string;
  try {
    content = readFile(descriptor);
  } catch (cause) {
    throw new DescriptorError(
      section.complaint(['descriptor'], `cannot read '${descriptor}': ${(cause as Error).message}`),
    );
  }
  return { ...parseDescriptor(content, crypto, descriptor), ...more };
}

function stockRelay(section: Section, crypto: CryptoProvider): PathRelay {
  const { stock } = validate(stockSchema, section);
  if (crypto.signatures.keyTypeOf(stock.publicKey) === undefined) {
    throw new DescriptorError(
      section.complaint(
        ['stock', 'publicKey'],
        'not the SubjectPublicKeyInfo of an Ed25519, ECDSA or RSA key (of 2048 bits or more; DER in base64, as ' +
          '"openssl pkey -pubout -outform DER" writes it)',
      ),
    );
  }
  return { ...stock, keyId: keyId(stock.publicKey, crypto), exit: true };
}
