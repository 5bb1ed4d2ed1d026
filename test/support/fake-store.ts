import type { Millis } from '../../src/link/clock.ts';
import type { SaOperation, SaParameters, SaResult } from '../../src/link/sa-store.ts';

/** An SA database that only remembers; it can be told to fail and to take its time. */
export class FakeStore {
  readonly inbound = new Map<number, SaParameters>();
  readonly outbound = new Map<number, SaParameters>();
  readonly reserved = new Set<number>();
  readonly log: SaOperation[] = [];
  /** The text with which an operation fails. */
  failure: (operation: SaOperation) => string | undefined = () => undefined;
  delay: (operation: SaOperation) => Millis = () => 0;
  #nextSpi: number;

  constructor(firstSpi: number) {
    this.#nextSpi = firstSpi;
  }

  get isEmpty(): boolean {
    return this.inbound.size + this.outbound.size + this.reserved.size === 0;
  }

  apply(operation: SaOperation): SaResult {
    this.log.push(operation);
    const error = this.failure(operation);
    if (error !== undefined) return { ok: false, error };
    switch (operation.kind) {
      case 'reserve': {
        const spi = this.#nextSpi++;
        this.reserved.add(spi);
        return { ok: true, spi };
      }
      case 'inbound':
        if (!this.reserved.has(operation.sa.spi)) return { ok: false, error: 'the SPI was not reserved' };
        this.inbound.set(operation.sa.spi, operation.sa);
        break;
      case 'outbound':
        this.outbound.set(operation.sa.spi, operation.sa);
        break;
      case 'remove':
        if (operation.direction === 'inbound') {
          this.inbound.delete(operation.spi);
          this.reserved.delete(operation.spi);
        } else this.outbound.delete(operation.spi);
        return { ok: true, spi: operation.spi };
    }
    return { ok: true, spi: operation.sa.spi };
  }
}
