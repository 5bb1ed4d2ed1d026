import type { Transform } from '../../src/ike/payload/payload.ts';

const TYPES: Readonly<Record<string, number>> = {
  ENCR: 1,
  PRF: 2,
  INTEG: 3,
  KE: 4,
  ESN: 5,
  ADDKE1: 6,
  ADDKE2: 7,
};

/** Transforms of a text like "ENCR 20/256, KE 31, 9 36": type, id and key length in bits. */
export function transforms(text: string): Transform[] {
  return text === '' ? [] : text.split(', ').map(transform);
}

function transform(text: string): Transform {
  const [type, value] = text.split(' ');
  const [id, keyLength] = value.split('/').map(Number);
  return { type: TYPES[type] ?? Number(type), id, ...(keyLength !== undefined && { keyLength }) };
}
