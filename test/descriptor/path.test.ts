import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { DescriptorError } from '../../src/descriptor/document.ts';
import { parsePath } from '../../src/descriptor/path.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { crypto, signed, signingKey, statement } from './relays.ts';

const FILES: Readonly<Record<string, string>> = {
  'a.yaml': signed(1, statement('alpha', '192.0.2.1', '10.1.0.0/24')),
  'b.yaml': signed(2, statement('beta', '192.0.2.2', '10.2.0.0/24')),
  'c.yaml': signed(3, statement('gamma', '192.0.2.3', '10.3.0.0/24')),
  'broken.yaml': 'version: 1\n',
};

function read(text: string) {
  const readFile = (name: string) => {
    const content = FILES[name];
    if (content === undefined) throw new Error('ENOENT: no such file');
    return content;
  };
  return parsePath(text, 'path.yaml', readFile, crypto);
}

function refusal(text: string): string {
  try {
    read(text);
  } catch (error) {
    expect(error).toBeInstanceOf(DescriptorError);
    return (error as Error).message;
  }
  throw new Error('accepted');
}

const gateway = {
  name: 'gateway',
  publicKey: Buffer.from(signingKey(9).publicKey).toString('base64'),
  addresses: { ip4: '192.0.2.9' },
  publicSharedKey: 'known to all',
};
const stock = (more: object) => stringify({ relays: [{ stock: { ...gateway, ...more } }] });

/** A refusal without lines and columns. */
function unplaced(text: string): string {
  return refusal(text).replace(/line \d+, column \d+: /g, '');
}

describe('a path', () => {
  it('has its hops in order, from files and in place', () => {
    const inline = parse(FILES['b.yaml']) as object;
    const text = stringify({ relays: [{ descriptor: 'c.yaml' }, inline, { descriptor: 'a.yaml' }] });
    expect(read(text).map(({ name }) => name)).toEqual(['gamma', 'beta', 'alpha']);
    expect(read(JSON.stringify(parse(text))).length).toBe(3);
  });

  it('says which shared key a relay wants, beside its descriptor', () => {
    const text = 'relays: [{descriptor: a.yaml, publicSharedKey: known to all}, {descriptor: b.yaml}]';
    const [alpha, beta] = read(text);
    expect(alpha).toMatchObject({ name: 'alpha', publicSharedKey: 'known to all' });
    expect(beta).not.toHaveProperty('publicSharedKey');
  });

  it('may have a gateway in it that has no descriptor', () => {
    const { publicKey } = signingKey(9);
    const said = {
      name: 'gateway',
      addresses: { ip4: '192.0.2.9' },
      publicSharedKey: 'known to all',
      publicKey,
    };
    expect(read(stock({}))).toMatchObject([{ ...said, pools: {}, overlayMtu: 1446 }]);
    const p256 = crypto.signatures.generate('ecdsa-p256').publicKey;
    const more = {
      publicKey: Buffer.from(p256).toString('base64'),
      pools: { ip4: '10.9.0.0/16' },
      overlayMtu: 1400,
    };
    expect(read(stock(more))).toMatchObject([
      { ...said, publicKey: p256, pools: { ip4: parsePrefix('10.9.0.0/16') }, overlayMtu: 1400 },
    ]);
  });

  it('has gateways that take NULL authentication', () => {
    const [found] = read(stock({ publicSharedKey: undefined }));
    expect(found).not.toHaveProperty('publicSharedKey');
  });

  it('has a gateway once, whatever it is called', () => {
    const again = { stock: { ...gateway, name: 'again' } };
    expect(unplaced(stringify({ relays: [{ stock: gateway }, again] }))).toContain(
      "relays.1: relay 'again' is already hop 1",
    );
  });

  it.each([
    ['no name', { name: undefined }, 'stock.name: '],
    ['an empty shared key', { publicSharedKey: '' }, 'stock.publicSharedKey: must not be empty'],
    ['no address', { addresses: {} }, 'stock.addresses: needs ip4, ip6 or both'],
    ['a pool that is not private', { pools: { ip4: '8.8.0.0/16' } }, 'stock.pools.ip4: '],
    [
      'a key that is none',
      { publicKey: 'AAAA' },
      'stock.publicKey: not the SubjectPublicKeyInfo of an Ed25519, ECDSA or RSA',
    ],
    ['a signature', { signature: 'AAAA' }, 'stock.signature: no such key'],
  ])('refuses a gateway with %s', (_name, more, message) => {
    expect(unplaced(stock(more))).toContain(`path.yaml: relays.0.${message}`);
  });

  it('refuses a gateway with another field beside it', () => {
    const text = stringify({ relays: [{ stock: gateway, descriptor: 'a.yaml' }] });
    expect(unplaced(text)).toContain('path.yaml: relays.0.stock: no such key; there are ');
  });

  it.each([
    ['an empty path', 'relays: []', 'path.yaml: relays: a path has at least one relay'],
    ['no list', 'hops: []', 'path.yaml: relays: '],
    [
      'another field',
      'relays: [{descriptor: a.yaml}]\nexit: a',
      'path.yaml: exit: no such key; there are relays',
    ],
    [
      'another field beside a file',
      'relays: [{descriptor: a.yaml, name: x}]',
      'path.yaml: relays.0.name: no such key; there are descriptor, publicSharedKey',
    ],
    [
      'a file that is not there',
      'relays: [{descriptor: a.yaml}, {descriptor: x.yaml}]',
      "path.yaml: relays.1.descriptor: cannot read 'x.yaml': ENOENT",
    ],
    ['a bad descriptor file', 'relays: [{descriptor: broken.yaml}]', 'broken.yaml: name: '],
    ['a bad descriptor in place', 'relays: [{version: 1}]', 'path.yaml: relays.0.name: '],
    [
      'a relay twice',
      'relays: [{descriptor: a.yaml}, {descriptor: b.yaml}, {descriptor: a.yaml}]',
      "path.yaml: relays.2: relay 'alpha' is already hop 1",
    ],
    [
      'a shared key that is a number',
      'relays: [{descriptor: a.yaml, publicSharedKey: 1234}]',
      'path.yaml: relays.0.publicSharedKey: must be text; put it in quotes',
    ],
  ])('refuses %s', (_name, text, message) => {
    expect(unplaced(text)).toContain(message);
  });

  it('says where in the file', () => {
    const at = (text: string) => refusal(text).split(': ')[1];
    expect(at('relays:\n- descriptor: a.yaml\n- descriptor: x.yaml\n')).toBe('line 3, column 3');
    expect(at('relays:\n- descriptor: a.yaml\n- descriptor: a.yaml\n')).toBe('line 3, column 3');
    expect(at('relays:\n- descriptor: a.yaml\n  publicSharedKey: 12\n')).toBe('line 3, column 3');
    expect(at('relays:\n  - {descriptor: a.yaml\n')).toMatch(/^line \d, column \d+$/);
    expect(at('relay:\n- descriptor: a.yaml\n')).toBe('relays');
    expect(refusal('relay: []')).toMatch(
      /line 1, column 1: relay: no such key; there are relays; did you mean/,
    );
    expect(at(stock({ pools: { ip4: '8.8.0.0/16' } }))).toMatch(/^line 9, column 9$/);
  });

  it('refuses a descriptor in place that was altered', () => {
    const inline = { ...(parse(FILES['b.yaml']) as object), exit: true };
    expect(unplaced(stringify({ relays: [inline] }))).toContain(
      'path.yaml: relays.0.signature: not by publicKey',
    );
  });
});
