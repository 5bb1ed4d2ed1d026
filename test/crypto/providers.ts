import { readFileSync } from 'node:fs';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';

/** What every provider must do alike. */
export const PROVIDERS = [
  ['noble', nobleProvider],
  ['node', nodeProvider],
] as const;

/** A vector file of fixtures/vectors. */
export function vectors<Case>(name: string): { readonly source: string; readonly cases: readonly Case[] } {
  return JSON.parse(readFileSync(new URL(`../../fixtures/vectors/${name}.json`, import.meta.url), 'utf8'));
}
