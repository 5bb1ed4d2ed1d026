import { NotifyType } from '../constants.ts';
import { notify } from '../payload/index.ts';
import type { Answer } from './answer.ts';

/** RFC 7296 1.3: an implementation may refuse every CREATE_CHILD_SA request: <--  HDR, SK {N(NO_ADDITIONAL_SAS)} */
export function answerCreateChild(): Answer {
  return { payloads: [notify(NotifyType.NO_ADDITIONAL_SAS)] };
}
