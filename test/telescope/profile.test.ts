import { expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { ChildAnswer } from '../../src/ike/config.ts';
import { buildSchedule, hopConfig } from '../../src/telescope/profile.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { addressSelector, anySelector, prefixSelector } from '../../src/wire/traffic-selector.ts';

const relay = {
  name: 'b',
  publicKey: new Uint8Array(44),
  addresses: { ip4: '192.0.2.2' },
  pools: { ip4: parsePrefix('10.2.0.0/16') },
  overlayMtu: 1446,
};
const { acceptChild } = hopConfig(relay, {
  crypto: nodeProvider(),
  family: 4,
  first: false,
  retransmission: buildSchedule,
});

const GOOD: ChildAnswer = {
  tsI: [addressSelector('10.2.3.4')],
  tsR: [anySelector(4)],
  assigned: { ip4: '10.2.3.4', dns: [] },
};

it('accepts TSi that is exactly the assigned address, with TSr that is everything', () => {
  expect(acceptChild(GOOD)).toBeUndefined();
});

it.each<[string, Partial<ChildAnswer>, RegExp]>([
  ['another address as TSi', { tsI: [addressSelector('10.2.3.5')] }, /TSi is not exactly/],
  ['TSi left wide', { tsI: [anySelector(4)] }, /TSi is not exactly/],
  ['a block as TSi', { tsI: [prefixSelector(parsePrefix('10.2.3.4/31'))] }, /TSi is not exactly/],
  ['one TSi more', { tsI: [...GOOD.tsI, addressSelector('10.2.3.5')] }, /TSi is not exactly/],
  ['TSi of some ports only', { tsI: [{ ...GOOD.tsI[0], endPort: 1023 }] }, /TSi is not exactly/],
  ['TSi of one protocol only', { tsI: [{ ...GOOD.tsI[0], protocol: 6 }] }, /TSi is not exactly/],
  ['TSr narrowed', { tsR: [prefixSelector(parsePrefix('192.0.2.0/24'))] }, /narrowed TSr/],
  ['no address', { assigned: undefined }, /assigned no IPv4 address/],
  [
    'an address outside the signed pool',
    { tsI: [addressSelector('10.9.0.1')], assigned: { ip4: '10.9.0.1', dns: [] } },
    /outside its pool 10\.2\.0\.0\/16/,
  ],
])('refuses %s (K26)', (_, change, problem) => {
  expect(acceptChild({ ...GOOD, ...change })).toMatch(problem);
});
