/** Fast reproducible pseudo-random numbers (sfc32) for choices by the million; never for anything but tests. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** The same numbers for the same seed and path: a part of a run can be drawn again without what came before it. */
  constructor(seed: number, ...path: readonly number[]) {
    this.#a = seed | 0;
    this.#b = (seed / 0x1_0000_0000) | 0;
    this.#c = 0x9e3779b9;
    for (const step of path) {
      this.#c ^= step | 0;
      for (let i = 0; i < 12; i++) this.next();
    }
    for (let i = 0; i < 12; i++) this.next();
  }

  /** 32 bits. */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** An integer from 0 to `limit` (exclusive). */
  below(limit: number): number {
    return Math.floor((this.next() / 0x1_0000_0000) * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability * 0x1_0000_0000;
  }

  /** @throws RangeError if there is nothing to choose from */
  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError('there is nothing to choose from');
    return list[this.below(list.length)];
  }

  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.next();
    return out;
  }

  /** Small numbers mostly, now and then a large one. */
  length(limit: number): number {
    return this.below(this.chance(0.9) ? Math.min(limit, 64) : limit);
  }
}
