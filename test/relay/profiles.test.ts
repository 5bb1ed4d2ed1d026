import { describe, expect, it } from 'vitest';
import type { AddressAssigner } from '../../src/cp/assigner.ts';
import type { PeerClaim } from '../../src/ike/config.ts';
import { AuthMethod, IdType } from '../../src/ike/constants.ts';
import type { Origin } from '../../src/link/link.ts';
import { relayProfiles } from '../../src/relay/profiles.ts';
import { prefixText } from '../../src/wire/address.ts';
import { fromHex, utf8 } from '../../src/wire/bytes.ts';
import { addressSelector, anySelector, prefixSelector } from '../../src/wire/traffic-selector.ts';
import { relayConfigs, sortedKeys } from '../support/sim-relays.ts';

const configs = relayConfigs([
  { name: 'a', number: 1, peers: ['b'], more: 'publicSharedKey: "known to all"' },
  { name: 'b', number: 2, peers: ['a'] },
  { name: 'stranger', number: 3, peers: ['a'] },
]);
const a = configs.get('a')!;
const b = configs.get('b')!.own;
const stranger = configs.get('stranger')!.own;
const assigner: AddressAssigner = { assign: () => undefined, release: () => {} };
const profile = relayProfiles(a, assigner);

const host: Origin = {
  linkId: 'host4',
  address: '198.51.100.7',
  port: 500,
  localAddress: '192.0.2.1',
  localPort: 500,
  encapsulated: false,
};
const inside: Origin = { ...host, linkId: 'relay', overlayPeer: b.keyId, address: '10.2.0.5' };
const nothing = { type: IdType.ID_NULL, data: new Uint8Array(0) };
const keyIdOf = (id: string) => ({ type: IdType.ID_KEY_ID, data: fromHex(id) });

const anonymous: PeerClaim = { identity: nothing, method: AuthMethod.NULL, origin: host };
const shared: PeerClaim = {
  identity: { type: IdType.ID_KEY_ID, data: utf8('anonymous') },
  method: AuthMethod.SHARED_KEY,
  origin: host,
};
const overlay: PeerClaim = {
  identity: keyIdOf(b.keyId),
  method: AuthMethod.DIGITAL_SIGNATURE,
  publicKey: b.publicKey,
  origin: host,
};

describe('the profiles of a relay', () => {
  it('give a client that proves nothing an address, and take no INITIAL_CONTACT from it', () => {
    for (const origin of [host, inside]) {
      const found = profile({ ...anonymous, origin })!;
      expect(found).toMatchObject({
        name: 'anonymous',
        remote: { kind: 'null' },
        assigner,
        childlessTimeout: 30_000,
      });
      expect(found.contactKey).toBeUndefined();
      expect(found.tsRemote).toEqual([]);
      expect(found.tsLocal).toEqual([anySelector(4), anySelector(6)]);
      expect(found.local).toMatchObject({
        kind: 'signature',
        sendKey: false,
        identity: keyIdOf(a.own.keyId),
      });
    }
  });

  it('let a client of the first hop move (MOBIKE), and nobody inside a telescope, nor a relay (K28)', () => {
    for (const claim of [anonymous, shared]) {
      expect(profile({ ...claim, origin: host })!.mobike!({ ...host, address: '203.0.113.1' })).toBe(true);
      expect(profile({ ...claim, origin: inside })!.mobike).toBeUndefined();
    }
    expect(profile(overlay)!.mobike).toBeUndefined();
    const udpOnly = relayProfiles({ ...a, encapsulatedOnly: true }, assigner);
    const inUdp = { ...host, encapsulated: true };
    const { mobike } = udpOnly({ ...anonymous, origin: inUdp })!;
    expect([mobike!(host), mobike!(inUdp)]).toEqual([false, true]);
  });

  it('give a client with the shared key the same, if there is one', () => {
    const found = profile(shared)!;
    expect(found).toMatchObject({
      name: 'public-shared-key',
      remote: { kind: 'shared-key', secret: utf8('known to all') },
      assigner,
    });
    expect(found.contactKey).toBeUndefined();
    expect(relayProfiles(configs.get('b')!, assigner)(shared)).toBeUndefined();
  });

  it('give a listed relay its overlay: its pinned key, exactly the pair of selectors, no address', () => {
    for (const claim of [overlay, { ...overlay, publicKey: undefined }, { ...overlay, identity: nothing }]) {
      const found = profile(claim)!;
      expect(found).toMatchObject({ name: 'overlay', contactKey: b.keyId });
      expect(found.remote).toEqual({ kind: 'signature', publicKey: b.publicKey });
      expect(found.assigner).toBeUndefined();
      expect(found.tsLocal).toEqual([addressSelector('192.0.2.1'), prefixSelector(a.own.pools.ip4!)]);
      expect(found.tsRemote).toEqual([addressSelector('192.0.2.2'), prefixSelector(b.pools.ip4!)]);
      expect(found.local).toMatchObject({ kind: 'signature', sendKey: true });
    }
    expect(prefixText(b.pools.ip4!)).toBe('10.2.0.0/16');
  });

  it.each<[string, PeerClaim]>([
    [
      'a relay that is not listed, by its key',
      { ...overlay, identity: keyIdOf(stranger.keyId), publicKey: stranger.publicKey },
    ],
    [
      'a relay that is not listed, by its id',
      { ...overlay, identity: keyIdOf(stranger.keyId), publicKey: undefined },
    ],
    ["a key that is not listed under a listed relay's id", { ...overlay, publicKey: stranger.publicKey }],
    ['a listed relay inside an overlay', { ...overlay, origin: inside }],
    ["NULL authentication with a listed relay's id", { ...overlay, method: AuthMethod.NULL }],
    ["the shared key with a listed relay's id", { ...overlay, method: AuthMethod.SHARED_KEY }],
    ['a signature with ID_NULL and no key', { ...anonymous, method: AuthMethod.DIGITAL_SIGNATURE }],
    ['the shared key with ID_NULL', { ...anonymous, method: AuthMethod.SHARED_KEY }],
    ['NULL authentication with an identity', { ...shared, method: AuthMethod.NULL }],
    ['an RSA signature', { ...overlay, method: AuthMethod.RSA_SIGNATURE }],
  ])('refuse %s', (_, claim) => {
    expect(profile(claim)).toBeUndefined();
  });

  it('refuse plain ESP from the host when the relay has no raw sockets, but not through overlays', () => {
    const [config] = relayConfigs(
      [{ name: 'a', number: 1, more: 'encapsulation: udp' }],
      sortedKeys(1),
    ).values();
    const profiles = relayProfiles(config, assigner);
    expect(profiles(anonymous)).toBeUndefined();
    expect(profiles({ ...anonymous, origin: { ...host, encapsulated: true } })).toBeDefined();
    expect(profiles({ ...anonymous, origin: inside })).toBeDefined();
  });
});
