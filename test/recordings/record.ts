import { mkdir, writeFile } from 'node:fs/promises';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { Cell } from '../interop/cells.ts';
import type { Installation } from '../interop/daemons/daemon.ts';
import { type CellReport, runCell } from '../interop/run-cell.ts';
import { Recorder } from './recorder.ts';
import { recordingText } from './recording.ts';
import { seededCrypto, seededKeys } from './seeded.ts';

/** Where recordings are. */
export const RECORDINGS = 'fixtures/recordings';

/** Octets of the longest file. */
const MAX_LENGTH = 30_000;

/** Runs a cell and writes down what our end saw; the file is replaced if all went well. One at a time. Never throws. */
export async function recordCell(cell: Cell, seed: number, installation: Installation): Promise<CellReport> {
  const recorder = new Recorder();
  const detach = recorder.attach();
  try {
    const report = await runCell(cell, installation, {
      crypto: seededCrypto(seed),
      // Its random octets are not the core's.
      backend: userSpaceBackend(nodeProvider()),
      clock: recorder.clock,
      key: seededKeys(seed),
    });
    if (!report.ok) return report;
    const { version } = installation;
    const date = new Date().toISOString();
    const text = recordingText({ cell, version, date, seed, events: recorder.events });
    if (text.length > MAX_LENGTH)
      return { ...report, ok: false, error: `${text.length} octets are too many` };
    await mkdir(RECORDINGS, { recursive: true });
    await writeFile(`${RECORDINGS}/${fileName(cell.id)}`, text);
    return report;
  } finally {
    detach();
  }
}

/** "strongswan-5.9 responder: COOKIE" is strongswan-5.9-responder-cookie.json. */
export function fileName(id: string): string {
  return `${id.toLowerCase().replaceAll(/[^a-z0-9.]+/g, '-')}.json`;
}
