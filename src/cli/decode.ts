import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { type Capture, CaptureFileError, readCapture } from '../decode/capture-file.ts';
import { Decoder } from '../decode/decoder.ts';
import { type KeyTable, KeyTableError, parseKeyTable } from '../decode/key-table-file.ts';
import { messageText } from '../decode/message-text.ts';
import { UsageError } from './failure.ts';

const HELP = `
Reads pcap and pcapng. IKE is looked for on UDP ports 500 and 4500. With --json there is one object per message and line;
"icv" tells whether the message is authentic (null: nothing to verify it with), "error" what is wrong with it. Messages of
IKE SAs whose keys are not in the table, or all of them without one, are printed as far as they are in clear.`;

export function decodeCommand(): Command {
  return new Command('decode')
    .description("print the IKE messages of a capture, decrypted with keys as Wireshark's")
    .argument('<capture>', 'a pcap or pcapng file')
    .option('--keys <file>', "the IKE SAs' keys: Wireshark's ikev2_decryption_table")
    .option('--json', 'print one JSON object per message and line')
    .addHelpText('after', HELP)
    .action((capture: string, { keys, json }: { readonly keys?: string; readonly json?: true }) => {
      // A reader such as head may have seen enough.
      process.stdout.on('error', () => process.exit());
      decode(readFrames(capture), keys === undefined ? new Map() : readKeys(keys), json === true);
    });
}

function decode({ frames, damage }: Capture, keys: KeyTable, json: boolean): void {
  const decoder = new Decoder(keys);
  for (const frame of frames) {
    const message = decoder.decode(frame);
    if (message !== undefined) print(json ? JSON.stringify(message) : messageText(message));
  }
  if (damage !== undefined) print(json ? JSON.stringify({ error: damage }) : `error: ${damage}`);
}

function readFrames(file: string): Capture {
  try {
    return readCapture(readNamed(file));
  } catch (error) {
    if (error instanceof CaptureFileError) throw new UsageError(`${file}: ${error.message}`);
    throw error;
  }
}

function readKeys(file: string): KeyTable {
  try {
    return parseKeyTable(readNamed(file).toString('utf8'), file);
  } catch (error) {
    if (error instanceof KeyTableError) throw new UsageError(error.message);
    throw error;
  }
}

function readNamed(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`${file}: cannot be read: ${(error as Error).message}`);
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
