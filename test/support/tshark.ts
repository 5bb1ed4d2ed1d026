import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Has ESP decrypted. */
export const DECRYPT_ESP = ['-o', 'esp.enable_encryption_decode:TRUE'];
/** Has its ICVs verified, which with extended sequence numbers only newer versions can. */
export const VERIFY_ESP = ['-o', 'esp.enable_authentication_check:TRUE'];

/**
 * What tshark says of a capture: the values of fields in each frame; a field that a frame has several times has them
 * comma-separated. It finds its tables of keys in `directory`.
 */
export function tshark(
  directory: string,
  capture: Uint8Array,
  fields: readonly string[],
  options: readonly string[] = [],
): string[][] {
  const file = join(directory, 'capture.pcapng');
  writeFileSync(file, capture);
  const { stdout, stderr, error, status } = spawnSync(
    'tshark',
    ['-r', file, '-T', 'fields', ...fields.flatMap((field) => ['-e', field]), ...options],
    { encoding: 'utf8', env: { ...process.env, WIRESHARK_CONFIG_DIR: directory } },
  );
  if (error !== undefined) throw new Error(`tshark is needed (apt-get install tshark): ${error.message}`);
  if (status !== 0 || /Error loading/.test(stderr)) throw new Error(`tshark: ${stderr}`);
  return stdout
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => line.split('\t'));
}
