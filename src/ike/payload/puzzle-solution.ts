import { type Reader, WireError } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import type { PuzzleSolutionPayload } from './payload.ts';

// RFC 8019 8.2: Puzzle Solution payload = four keys of one size.

export function encodePuzzleSolution(payload: PuzzleSolutionPayload, out: Writer): void {
  out.bytes(payload.data);
}

export function decodePuzzleSolution(body: Reader): PuzzleSolutionPayload {
  const data = body.rest();
  if (data.length === 0 || data.length % 4 !== 0) {
    throw new WireError(`a puzzle solution of ${data.length} octets is not four keys of one size`);
  }
  return { kind: 'PS', data };
}
