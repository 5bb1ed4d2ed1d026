import { z } from 'zod';
import type { CryptoProvider } from '../crypto/provider.ts';
import { descriptorFrom, parseDescriptor, type RelayDescriptor } from './descriptor.ts';
import { DescriptorError, parseText, validate } from './document.ts';

const pathSchema = z.strictObject({
  relays: z.array(z.record(z.string(), z.unknown())).min(1, 'a path has at least one relay'),
});
const fileSchema = z.strictObject({ descriptor: z.string().min(1) });

/**
 * Reads a path file (YAML or JSON): `relays:` lists the hops in order, entry first, each as `descriptor: FILE` or as the
 * descriptor itself.
 * @param readFile - the text of a descriptor file, by the name that the path gives it; what it throws is reported
 * @throws DescriptorError naming the file, the hop and the field
 */
export function parsePath(
  text: string,
  where: string,
  readFile: (name: string) => string,
  crypto: CryptoProvider,
): readonly RelayDescriptor[] {
  const { relays } = validate(pathSchema, parseText(text, where), where);
  const hops = relays.map((entry, index) => {
    const here = `${where}: relays.${index}`;
    if (!('descriptor' in entry)) return descriptorFrom(entry, crypto, here);
    const { descriptor } = validate(fileSchema, entry, here);
    let content: string;
    try {
      content = readFile(descriptor);
    } catch (cause) {
      throw new DescriptorError(`${here}: cannot read '${descriptor}': ${(cause as Error).message}`);
    }
    return parseDescriptor(content, crypto, descriptor);
  });
  hops.forEach((hop, index) => {
    const first = hops.findIndex((other) => other.keyId === hop.keyId);
    if (first !== index) {
      throw new DescriptorError(
        `${where}: relays.${index}: relay '${hop.name}' is already hop ${first + 1}; a relay may be in a path once`,
      );
    }
  });
  return hops;
}
