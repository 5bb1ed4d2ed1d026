/** Reproducible pseudo-random octets (xorshift128+); never for anything but tests. */
export function seededRandom(seed: number): (length: number) => Uint8Array {
  let a = BigInt(seed) * 0x9e3779b97f4a7c15n + 1n;
  let b = BigInt(seed) ^ 0xbf58476d1ce4e5b9n;
  const mask = (1n << 64n) - 1n;
  const next = () => {
    let x = a & mask;
    const y = b & mask;
    a = y;
    x ^= (x << 23n) & mask;
    x ^= x >> 17n;
    x ^= y ^ (y >> 26n);
    b = x & mask;
    return (x + y) & mask;
  };
  for (let i = 0; i < 16; i++) next();
  return (length) => {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i += 8) {
      let word = next();
      for (let j = i; j < Math.min(i + 8, length); j++) {
        out[j] = Number(word & 0xffn);
        word >>= 8n;
      }
    }
    return out;
  };
}

/** Numbers in [0, 1) from seeded octets. */
export function seededUniform(seed: number): () => number {
  const random = seededRandom(seed);
  return () => new DataView(random(4).buffer).getUint32(0) / 0x1_0000_0000;
}
