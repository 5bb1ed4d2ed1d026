import type { Millis } from '../../src/link/clock.ts';
import type { SaOperation, SaParameters, SaResult } from '../../src/link/sa-store.ts';

/** The caller overwrites the operation's keys once it has the result. */
function keep(sa: SaParameters): SaParameters {
  const { encryption, integrity } = sa.keys;
  return { ...sa, keys: { encryption: encryption.slice(), integrity: integrity.slice() } };
}

/** An SA database that only remembers; it can be told to fail and to take its time. */
export class FakeStore {
  readonly inbound = new Map<number, SaParameters>();
  readonly outbound = new Map<number, SaParameters>();
  readonly reserved = new Set<number>();
  readonly log: SaOperation[] = [];
  /** The text with which an operation fails. */
  failure: (operation: SaOperation) => string | undefined = () => undefined;
  delay: (operation: SaOperation) => Millis = () => 0;
  readonly #nextSpi: () => number;

  /** @param spis - the first SPI, the others follow; or where each comes from */
  constructor(spis: number | (() => number)) {
    let next = typeof spis === 'number' ? spis : 0;
    this.#nextSpi = typeof spis === 'number' ? () => next++ : spis;
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
        const spi = this.#nextSpi();
        this.reserved.add(spi);
        return { ok: true, spi };
      }
      case 'inbound':
        if (!this.reserved.has(operation.sa.spi)) return { ok: false, error: 'the SPI was not reserved' };
        this.inbound.set(operation.sa.spi, keep(operation.sa));
        break;
      case 'outbound':
        this.outbound.set(operation.sa.spi, keep(operation.sa));
        break;
      case 'remove': {
        const { direction, spi, tunnelId } = operation;
        const installed = this[direction].get(spi);
        if (installed !== undefined && installed.tunnel.id !== tunnelId) {
          return { ok: false, error: `the SA is not of tunnel ${tunnelId}` };
        }
        this[direction].delete(spi);
        if (direction === 'inbound') this.reserved.delete(spi);
        return { ok: true, spi };
      }
      case 'move': {
        const { spi, tunnelId, path } = operation;
        const sa = this.outbound.get(spi);
        if (sa?.tunnel.id !== tunnelId) return { ok: false, error: `no outbound SA ${spi} of ${tunnelId}` };
        this.outbound.set(spi, { ...sa, path });
        return { ok: true, spi };
      }
    }
    return { ok: true, spi: operation.sa.spi };
  }
}
