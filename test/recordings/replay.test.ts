import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { recordedFlows } from './flows.ts';
import { fileName, RECORDINGS } from './record.ts';
import type { Recording } from './recording.ts';
import { replay } from './replay.ts';

const files = readdirSync(RECORDINGS).sort();

describe('recordings of real daemons', () => {
  it('are there of all flows', () => {
    expect(files).toEqual(
      recordedFlows()
        .map(({ cell }) => fileName(cell.id))
        .sort(),
    );
  });

  for (const file of files) {
    const recording = JSON.parse(readFileSync(`${RECORDINGS}/${file}`, 'utf8')) as Recording;
    it(`are answered octet for octet: ${recording.cell.id}`, () => {
      replay(recording);
    });
  }
});
