import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultProvider } from '../crypto/default.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { parseDescriptor, type RelayDescriptor } from './descriptor.ts';
import { DescriptorError } from './document.ts';
import { fixedRelaySet, type RelaySet } from './relay-set.ts';

/** The relays whose signed descriptors are the files of a directory: those that end in .yaml, .yml or .json. */
export class RelayDirectory implements RelaySet {
  readonly #directory: string;
  readonly #crypto: CryptoProvider;
  #set: RelaySet;

  /** Reads the directory. @throws DescriptorError naming the file and what to do */
  constructor(directory: string, crypto: CryptoProvider = defaultProvider()) {
    this.#directory = directory;
    this.#crypto = crypto;
    this.#set = this.#read();
  }

  /** Those of the last reading. */
  relays(): readonly RelayDescriptor[] {
    return this.#set.relays();
  }

  /** The relay with that key id, in the last reading. */
  find(keyId: string): RelayDescriptor | undefined {
    return this.#set.find(keyId);
  }

  /** Reads the directory again. @throws DescriptorError, and the set is what it was */
  reload(): void {
    this.#set = this.#read();
  }

  #read(): RelaySet {
    const names = readable(this.#directory, (each) => readdirSync(each)).filter((name) =>
      /\.(ya?ml|json)$/.test(name),
    );
    if (names.length === 0) {
      throw new DescriptorError(
        `${this.#directory}: has no descriptors; put the files that 'ike-telescope relay --descriptor' prints there`,
      );
    }
    const descriptors = names.sort().map((name) => {
      const file = join(this.#directory, name);
      return parseDescriptor(
        readable(file, (each) => readFileSync(each, 'utf8')),
        this.#crypto,
        file,
      );
    });
    return fixedRelaySet(descriptors);
  }
}

/** @throws DescriptorError */
function readable<T>(file: string, read: (file: string) => T): T {
  try {
    return read(file);
  } catch (error) {
    throw new DescriptorError(`${file}: cannot be read: ${(error as Error).message}`);
  }
}
