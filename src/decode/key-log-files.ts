import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import createDebug from 'debug';
import { UnsupportedAlgorithm } from '../crypto/provider.ts';
import type { EspSaSecrets, IkeSaSecrets, KeyLog } from '../ike/key-log.ts';
import { espTableLine, ikeTableLine } from './key-table.ts';

const log = createDebug('ike-telescope:key-log');

/** Nobody else's eyes: whoever reads these files reads everything. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

/** A directory whose files cannot be written; the message says which and why. */
export class KeyLogError extends Error {
  override readonly name = 'KeyLogError';
}

/**
 * Writes Wireshark's files `ikev2_decryption_table` and `esp_sa` in a directory, after what they have already.
 * With WIRESHARK_CONFIG_DIR set to it, Wireshark and tshark find them.
 */
export class KeyLogFiles implements KeyLog {
  /** File descriptors. */
  #files: { readonly ike: number; readonly esp: number } | undefined;

  /** @throws KeyLogError */
  constructor(directory: string) {
    this.#files = { ike: open(directory, 'ikev2_decryption_table'), esp: open(directory, 'esp_sa') };
  }

  ikeSa(secrets: IkeSaSecrets): void {
    append(this.#files?.ike, () => ikeTableLine(secrets));
  }

  espSa(secrets: EspSaSecrets): void {
    append(this.#files?.esp, () => espTableLine(secrets));
  }

  close(): void {
    if (this.#files === undefined) return;
    closeSync(this.#files.ike);
    closeSync(this.#files.esp);
    // The numbers may soon be those of other files.
    this.#files = undefined;
  }
}

function open(directory: string, name: string): number {
  const file = join(directory, name);
  try {
    mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
    return openSync(file, 'a', FILE_MODE);
  } catch (error) {
    throw new KeyLogError(`${file}: cannot be written: ${(error as Error).message}`);
  }
}

/** A line that cannot be written is missing: an IKE SA does not depend on being watched. */
function append(file: number | undefined, line: () => string): void {
  if (file === undefined) return;
  try {
    writeSync(file, `${line()}\n`);
  } catch (error) {
    log('%s', error instanceof UnsupportedAlgorithm ? error.message : 'a key could not be written');
  }
}
