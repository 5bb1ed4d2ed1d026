import type { Procedure } from '../procedure.ts';
import { informational } from './informational.ts';

/** RFC 7296 1.4, 2.4: HDR, SK {}  -->  <--  HDR, SK {}; no answer ends the IKE SA. */
export function* checkLiveness(): Procedure<void> {
  yield* informational([]);
}
