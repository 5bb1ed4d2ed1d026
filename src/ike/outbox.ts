import type { Origin } from '../link/link.ts';
import type { SaOperation } from '../link/sa-store.ts';
import type { IkeEvent, Output } from './output.ts';

/** What an IKE SA wants done and has not yet handed over, in order. */
export class Outbox {
  readonly #outputs: Output[] = [];
  #operationId = 0;

  /** The next output; undefined when there is nothing left. */
  take(): Output | undefined {
    return this.#outputs.shift();
  }

  transmit(message: Uint8Array, to: Origin): void {
    this.#outputs.push({ kind: 'transmit', message, to });
  }

  /** Returns the id that the result will come with. */
  submit(operation: SaOperation): number {
    const id = this.#operationId++;
    this.#outputs.push({ kind: 'operation', id, operation });
    return id;
  }

  emit(event: IkeEvent): void {
    this.#outputs.push({ kind: 'event', event });
  }
}
