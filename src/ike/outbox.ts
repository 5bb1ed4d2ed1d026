import type { Origin } from '../link/link.ts';
import type { SaOperation, SaResult } from '../link/sa-store.ts';
import type { IkeEvent, Output } from './output.ts';

/** What a lineage of IKE SAs wants done and has not yet handed over, in order, and who waits for the results. */
export class Outbox {
  readonly #outputs: Output[] = [];
  readonly #waiting = new Map<number, (result: SaResult) => void>();
  #operationId = 0;

  /** The next output; undefined when there is nothing left. */
  take(): Output | undefined {
    return this.#outputs.shift();
  }

  transmit(message: Uint8Array, to: Origin): void {
    this.#outputs.push({ kind: 'transmit', message, to });
  }

  /** @param onResult - what is to be done with the result; absent: nobody waits for it */
  submit(operation: SaOperation, onResult?: (result: SaResult) => void): void {
    const id = this.#operationId++;
    this.#outputs.push({ kind: 'operation', id, operation });
    if (onResult !== undefined) this.#waiting.set(id, onResult);
  }

  /** Hands the result of an operation to whoever waits for it. */
  complete(id: number, result: SaResult): void {
    const onResult = this.#waiting.get(id);
    this.#waiting.delete(id);
    onResult?.(result);
  }

  emit(event: IkeEvent): void {
    this.#outputs.push({ kind: 'event', event });
  }
}
