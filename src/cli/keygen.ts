import { writeFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { defaultProvider } from '../crypto/default.ts';
import { keyId } from '../descriptor/descriptor.ts';
import { encodeKeyFile } from '../relay/key-file.ts';
import { UsageError } from './failure.ts';

const TYPES = ['ed25519', 'ecdsa-p256'] as const;

export function keygenCommand(): Command {
  return new Command('keygen')
    .description('make the key of a relay (PEM) and print its public key id')
    .addOption(
      new Option('--type <type>', 'relays have Ed25519 keys; routers with libreswan cannot')
        .choices(TYPES)
        .default('ed25519'),
    )
    .option('--out <file>', 'where to write it, with mode 0600; default: standard output')
    .action(({ type, out }: { type: (typeof TYPES)[number]; out?: string }) => {
      const crypto = defaultProvider();
      const key = crypto.signatures.generate(type);
      const pem = encodeKeyFile(key);
      const id = `key id: ${keyId(key.publicKey, crypto)}\n`;
      if (out === undefined) {
        process.stdout.write(pem);
        process.stderr.write(id);
        return;
      }
      writeNew(out, pem);
      process.stdout.write(id);
    });
}

function writeNew(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new UsageError(`${file}: there is such a file already, and it may be a key; choose another name`);
    }
    throw new UsageError(`${file}: cannot be written: ${(error as Error).message}`);
  }
}
