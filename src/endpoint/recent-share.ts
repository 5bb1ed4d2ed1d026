/** What a single thing counts: about as many are remembered as this goes into one. */
const WEIGHT = 1 / 64;

/** Which part of the last things, roughly, were of one kind. */
export class RecentShare {
  #share = 0;

  /** From 0 to 1. */
  get share(): number {
    return this.#share;
  }

  add(isOfTheKind: boolean): void {
    this.#share += ((isOfTheKind ? 1 : 0) - this.#share) * WEIGHT;
  }
}
