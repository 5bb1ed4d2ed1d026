import type { SaLimits, SaParameters, SaUsed } from '../link/sa-store.ts';

/** What one SA has carried, in inner packets and their octets, and what is told of it. */
export class Usage {
  readonly #limits: SaLimits;
  readonly #tell: (kind: SaUsed['kind']) => void;
  #packets = 0;
  #octets = 0;
  #next: SaUsed['kind'] | undefined = 'used';

  constructor(
    direction: SaUsed['direction'],
    { spi, tunnel, limits }: Pick<SaParameters, 'spi' | 'tunnel' | 'limits'>,
    onSaEvent: (event: SaUsed) => void,
  ) {
    this.#limits = limits ?? {};
    this.#tell = (kind) => onSaEvent({ kind, direction, spi, tunnelId: tunnel.id });
  }

  /** It must not carry any more. */
  get isExhausted(): boolean {
    const { hardPackets, hardOctets } = this.#limits;
    return this.#isReached(hardPackets, hardOctets);
  }

  /** Counts a packet of `octets`. */
  add(octets: number): void {
    this.#packets++;
    this.#octets += octets;
  }

  /** Counts what it has carried in all. */
  reach(packets: number, octets: number): void {
    this.#packets = packets;
    this.#octets = octets;
  }

  /** It carries nothing any more, whatever its limits are. */
  end(): void {
    if (this.#next !== undefined) this.#advance('hard', undefined);
  }

  /** Tells what has not been told. */
  report(): void {
    if (this.#next === 'used' && this.#packets > 0) this.#advance('used', 'soft');
    const { softPackets, softOctets } = this.#limits;
    if (this.#next === 'soft' && this.#isReached(softPackets, softOctets)) this.#advance('soft', 'hard');
    if (this.#next !== undefined && this.isExhausted) this.#advance('hard', undefined);
  }

  #isReached(packets = Number.POSITIVE_INFINITY, octets = Number.POSITIVE_INFINITY): boolean {
    return this.#packets >= packets || this.#octets >= octets;
  }

  #advance(told: SaUsed['kind'], next: SaUsed['kind'] | undefined): void {
    this.#next = next;
    this.#tell(told);
  }
}
