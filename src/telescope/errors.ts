/** Why a telescope could not be built, or ended: which hop, what was being done, and the cause. */
export class TelescopeError extends Error {
  override readonly name = 'TelescopeError';
  /** 1 for the entry. */
  readonly hop: number;
  /** Its name. */
  readonly relay: string;
  /** What was being done. */
  readonly action: string;

  /** The message has all of them, and the message of `cause`. */
  constructor(hop: number, relay: string, action: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`hop ${hop} (${relay}): ${action}: ${why}`, { cause });
    this.hop = hop;
    this.relay = relay;
    this.action = action;
  }
}
