import { TransformType } from '../../crypto/transforms.ts';
import type { InitiatorConfig } from '../config.ts';
import { NotifyType } from '../constants.ts';
import { LocalError } from '../errors.ts';
import { isErrorNotify, type Payload } from '../payload/index.ts';
import { type Message, type Procedure, solve } from '../procedure.ts';
import { DEFAULT_MAX_DIFFICULTY, decodePuzzle, PuzzleSolver } from '../puzzle.ts';
import type { SaContext } from '../sa-context.ts';

/** The solution, or a response that makes it unnecessary; nobody else keeps us from solving it. */
export function* workAt(solver: PuzzleSolver): Procedure<Uint8Array | Message> {
  for (;;) {
    const heard = yield* solve(solver);
    if (heard instanceof Uint8Array || !heard.payloads.some(isDemandOrError)) return heard;
  }
}

function isDemandOrError(payload: Payload): boolean {
  return payload.kind === 'NOTIFY' && (payload.type === NotifyType.PUZZLE || isErrorNotify(payload));
}

/**
 * Who works at a puzzle, or why nobody does.
 * @param octets - the cookie, or Nr | SPIr
 */
export function solverOf(
  sa: SaContext,
  config: InitiatorConfig,
  data: Uint8Array,
  octets: Uint8Array,
): PuzzleSolver | LocalError {
  const puzzle = decodePuzzle(data);
  const { maxPuzzleDifficulty: most = DEFAULT_MAX_DIFFICULTY, ikeProposals } = config;
  const isOffered = ikeProposals.some(({ transforms }) =>
    transforms.some(({ type, id }) => type === TransformType.PRF && id === puzzle?.prf),
  );
  if (puzzle === undefined || !isOffered)
    return new LocalError('the responder is under load and demands a puzzle that is none of RFC 8019');
  if (puzzle.difficulty <= most) return new PuzzleSolver(sa.crypto, puzzle, octets);
  return new LocalError(
    `the responder is under load and demands a puzzle of ${puzzle.difficulty} bits, where at most ${most} are solved ` +
      '(RFC 8019): try again later, or raise maxPuzzleDifficulty',
  );
}
