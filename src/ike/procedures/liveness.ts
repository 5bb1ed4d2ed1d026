import type { Procedure } from '../procedure.ts';
import type { SaContext } from '../sa-context.ts';
import { informational } from './informational.ts';
import { followMapping, mappingProbe } from './mobike.ts';

/** RFC 7296 1.4, 2.4: HDR, SK {}  -->  <--  HDR, SK {}; no answer ends the IKE SA. */
export function* checkLiveness(sa: SaContext): Procedure<void> {
  const { payloads } = yield* informational(mappingProbe(sa));
  followMapping(sa, payloads);
}
