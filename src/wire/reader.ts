/** A message that does not parse: what was read, where, and what was wrong. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

/**
 * A cursor over big-endian bytes. It throws `WireError` on a short read and never clamps; every decoder ends
 * with `expectEnd`. Returned byte ranges are views of the input, not copies.
 */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #offset = 0;

  /** @param what - what is being read, for error messages ("KE payload") */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  /** Bytes consumed so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#bytes[this.#take(1)];
  }

  u16(): number {
    const start = this.#take(2);
    return (this.#bytes[start] << 8) | this.#bytes[start + 1];
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16();
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  bytes(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  /** A reader over the next `length` bytes, which this reader skips. */
  sub(length: number, what: string): Reader {
    return new Reader(this.bytes(length), what);
  }

  expectEnd(): void {
    if (this.remaining > 0) throw new WireError(`${this.#what}: ${this.remaining} octets after its end`);
  }

  #take(length: number): number {
    if (length < 0 || length > this.remaining) {
      throw new WireError(
        `${this.#what}: needs ${length} octets at offset ${this.#offset}, has ${this.remaining}`,
      );
    }
    const start = this.#offset;
    this.#offset += length;
    return start;
  }
}
