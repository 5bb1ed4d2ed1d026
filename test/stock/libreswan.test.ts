import { createHash, createPublicKey } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { nodeProvider } from '../../src/crypto/node.ts';
import { encodePkcs8 } from '../../src/crypto/pkcs8.ts';
import { parsePath } from '../../src/descriptor/path.ts';
import { encodeKeyFile } from '../../src/relay/key-file.ts';
import { decodeEcdsaKey } from '../../src/stock/libreswan.ts';
import { relayKit } from '../../src/stock/relay-kit.ts';
import { kitConfig } from './kit-configs.ts';

const crypto = nodeProvider();
const key = crypto.signatures.fromPkcs8(encodePkcs8('ecdsa-p256', new Uint8Array(32).fill(7)));

function kit(...lines: readonly string[]): Readonly<Record<string, string>> {
  const daemon = { name: 'libreswan', key } as const;
  const files = relayKit(kitConfig(1, lines), { daemon, firewall: 'nftables', where: 'relay.yaml' });
  return Object.fromEntries(files.map(({ path, text }) => [path, text]));
}

const conf = (...lines: readonly string[]) => kit(...lines)['ipsec.d/ike-telescope.conf'];

/** The options of a section of ipsec.conf. */
function options(text: string, section: string): Readonly<Record<string, string>> {
  const [, body] = new RegExp(`^${section}\n((?:\t.*\n)*)`, 'm').exec(text)!;
  return Object.fromEntries(
    body
      .trimEnd()
      .split('\n')
      .map((line) => line.trim().split(/=(.*)/s).slice(0, 2)),
  );
}

describe('libreswan', () => {
  it('has a connection for the clients of each family, who prove nothing and get an address each', () => {
    const text = conf();
    expect(options(text, 'config setup')).toMatchObject({ uniqueids: 'no' });
    expect(options(text, 'conn ike-telescope-ip4')).toMatchObject({
      left: '192.0.2.1',
      leftauth: 'ecdsa',
      leftsubnet: '0.0.0.0/0',
      right: '%any',
      rightid: '%null',
      rightauth: 'null',
      rightaddresspool: '10.1.0.1-10.1.255.254',
      narrowing: 'yes',
      mobike: 'no',
      'encap-dscp': 'no',
      pfs: 'no',
    });
    expect(options(text, 'conn ike-telescope-ip6')).toMatchObject({
      left: '2001:db8::1',
      leftsubnet: '::/0',
      rightaddresspool: 'fd01::/112',
    });
  });

  it('accepts what clients propose', () => {
    expect(options(conf(), 'conn ike-telescope-ip4')).toMatchObject({
      ike:
        'aes_gcm_c_256+aes_gcm_c_128+chacha20_poly1305-sha2_256+sha2_384+sha2_512-dh31+dh19+dh14,' +
        'aes_cbc_256+aes_cbc_128-sha2_256-dh31+dh19+dh14',
      esp: 'aes_gcm_c_256+aes_gcm_c_128+chacha20_poly1305-none,aes_cbc_256+aes_cbc_128-sha2_256',
      esn: 'either',
      salifetime: '5400s',
    });
  });

  it('finds its key by the hash of the point, and has it imported from its file', () => {
    const { x, y } = createPublicKey({ key: Buffer.from(key.publicKey), format: 'der', type: 'spki' }).export(
      { format: 'jwk' },
    );
    const point = Buffer.concat([Buffer.of(4), ...[x, y].map((text) => Buffer.from(text!, 'base64url'))]);
    expect(options(conf(), 'conn ike-telescope-ip4').leftckaid).toBe(
      createHash('sha1').update(point).digest('hex'),
    );
    const files = kit();
    expect(decodeEcdsaKey(files['ipsec.d/ike-telescope.pem'], crypto).publicKey).toEqual(key.publicKey);
    expect(files['ike-telescope-import-key']).toContain('-inkey /etc/ipsec.d/ike-telescope.pem');
  });

  it('says how clients name it, and what it cannot do', () => {
    const text = conf();
    const [, entry] = /^# {3}- stock:\n((?:# {7}.*\n)*)/m.exec(text)!;
    const stock = parse(entry.replace(/^# {7}/gm, ''));
    const [relay] = parsePath(JSON.stringify({ relays: [{ stock }] }), 'path.yaml', () => '', crypto);
    const { addresses, pools } = kitConfig(1).own;
    expect(relay).toMatchObject({ name: 'relay-1', publicKey: key.publicKey, addresses, pools });
    expect(relay.publicSharedKey).toBeUndefined();
    expect(text).toContain('# * overlays: ');
    expect(text).toContain('# * hiding ECN: ');
  });

  it('gives name servers, and keeps lists of small pools', () => {
    const text = conf(
      'dns: [9.9.9.9, "2620:fe::9"]',
      'exit: { kind: kernel }',
      'pool: { ip4: 10.1.2.64/30, ip6: "fd01::8000/113" }',
    );
    expect(options(text, 'conn ike-telescope-ip4')).toMatchObject({
      modecfgdns: '9.9.9.9',
      rightaddresspool: '10.1.2.65-10.1.2.66',
    });
    expect(options(text, 'conn ike-telescope-ip6')).toMatchObject({
      modecfgdns: '2620:fe::9',
      rightaddresspool: 'fd01::8000/113',
    });
  });

  it.each([
    [
      'neighbours',
      ['peers: [2.yaml]'],
      /relay\.yaml: peers: .*Ed25519.*leave the list empty, or use strongSwan/,
    ],
    [
      'a pool without an address',
      ['address: { ip4: 192.0.2.1 }'],
      /relay\.yaml: pool\.ip6: .*add address\.ip6/,
    ],
  ])('refuses %s', (_, lines, message) => {
    expect(() => kit(...lines)).toThrow(message);
  });

  it.each([
    ['an Ed25519 key', encodeKeyFile(crypto.signatures.generate('ed25519'))],
    ['a key of another curve', encodeKeyFile(crypto.signatures.generate('ecdsa-p384'))],
    ['no key', 'hello'],
  ])('does not take %s', (_, text) => {
    expect(() => decodeEcdsaKey(text, crypto)).toThrow('ECDSA private key of P-256');
  });
});
