import { NotifyType, nameOf } from './constants.ts';

/** Base of what can go wrong with an IKE SA. `message` says what and, where it helps, what to do. */
export class IkeError extends Error {
  /** That of the class. */
  override readonly name: string = 'IkeError';
}

/** A message of the peer's violates the protocol; `notify` is what it is told (RFC 7296 3.10.1). */
export class ProtocolError extends IkeError {
  override readonly name = 'ProtocolError';
  /** Of `NotifyType`. */
  readonly notify: number;
  /** Its Notification Data. */
  readonly data: Uint8Array;

  /** An error of the peer's; `message` is for us, `notify` and `data` are for the peer. */
  constructor(notify: number, message: string, data: Uint8Array = new Uint8Array(0)) {
    super(message);
    this.notify = notify;
    this.data = data;
  }
}

/** The peer answered with an error notify. */
export class RefusedError extends IkeError {
  override readonly name = 'RefusedError';
  /** Of `NotifyType`. */
  readonly notify: number;

  /** `during` says, in the message, what was refused. */
  constructor(notify: number, during: string) {
    super(`the peer refused ${during}: ${nameOf(NotifyType, notify)}`);
    this.notify = notify;
  }
}

/** The peer did not prove what was demanded of it. */
export class AuthenticationError extends IkeError {
  override readonly name = 'AuthenticationError';
}

/** No answer within the retransmission schedule. */
export class NoAnswerError extends IkeError {
  override readonly name = 'NoAnswerError';
}

/** Our own policy refused the peer's answer, or our backend could not install an SA. */
export class LocalError extends IkeError {
  override readonly name = 'LocalError';
}

/** Whatever was thrown as an IkeError: anything else is a fault of ours, or an algorithm that a provider does not have. */
export function ikeErrorOf(error: unknown): IkeError {
  if (error instanceof IkeError) return error;
  return new LocalError(error instanceof Error ? error.message : String(error), { cause: error });
}
