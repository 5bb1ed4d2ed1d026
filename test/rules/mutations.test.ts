import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const mutations: readonly { readonly cites: string; readonly file: string; readonly find: string }[] =
  JSON.parse(read('scripts/mutations.json'));

// `npm run test:mutate` takes minutes; that its table fits the code is seen at once.
describe('the table of mutations', () => {
  it.each(mutations)('$cites is kept by $file, at one place', ({ file, find }) => {
    expect(read(file).split(find).length - 1, `scripts/mutations.json: ${find}`).toBe(1);
  });
});
