import type { IkeError } from '../errors.ts';
import type { Payload } from '../payload/index.ts';

/** A response to a protected request. */
export interface Answer {
  readonly payloads: readonly Payload[];
  /** The IKE SA ends with it, because of `error` or in good order. */
  readonly end?: { readonly error?: IkeError };
  /** What is to be done once it is on its way. */
  readonly whenSent?: () => void;
}
