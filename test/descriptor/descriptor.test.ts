import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { ED25519 } from '../../src/crypto/signature-scheme.ts';
import { keyId, parseDescriptor, signDescriptor } from '../../src/descriptor/descriptor.ts';
import { DescriptorError } from '../../src/descriptor/document.ts';
import { parsePrefix, prefixText } from '../../src/wire/address.ts';
import { crypto, descriptor, signed, signingKey, statement } from './relays.ts';

const FULL = statement('relay-a', '192.0.2.1', '10.1.0.0/24', {
  addresses: { ip4: '192.0.2.1', ip6: '2001:db8::1' },
  pools: { ip4: parsePrefix('10.1.0.0/24'), ip6: parsePrefix('fd00:1::/64') },
  overlayMtu: 1438,
  exit: true,
  exitPolicy: ['reject *:25/tcp', 'accept *'],
});
const TEXT = signed(1, FULL);

/** The descriptor with a change and the old signature. */
function changed(change: (document: Record<string, unknown>) => void): string {
  const document = parse(TEXT) as Record<string, unknown>;
  change(document);
  return stringify(document);
}

function refusal(text: string): string {
  try {
    parseDescriptor(text, crypto, 'a.yaml');
  } catch (error) {
    expect(error).toBeInstanceOf(DescriptorError);
    return (error as Error).message;
  }
  throw new Error('accepted');
}

/** A refusal without lines and columns. */
function unplaced(text: string): string {
  return refusal(text).replace(/line \d+, column \d+: /g, '');
}

describe('a signed descriptor', () => {
  it('says what was signed', () => {
    const { publicKey } = signingKey(1);
    const read = parseDescriptor(TEXT, crypto, 'a.yaml');
    expect(read).toEqual({ ...FULL, publicKey, keyId: keyId(publicKey, crypto) });
    expect(read.pools.ip6 && prefixText(read.pools.ip6)).toBe('fd00:1::/64');
  });

  it('is the same in JSON, in any order, and for every provider', () => {
    const entries = Object.entries(parse(TEXT) as object).reverse();
    const json = JSON.stringify(Object.fromEntries(entries), null, 2);
    expect(parseDescriptor(json, nobleProvider(), 'a.json')).toEqual(parseDescriptor(TEXT, crypto, 'a.yaml'));
    expect(signDescriptor(FULL, signingKey(1), nobleProvider())).toBe(TEXT);
  });

  it('may name an operator, in the signed part', () => {
    const text = signed(1, { ...FULL, operator: 'example.org' });
    expect(parseDescriptor(text, crypto, 'a.yaml').operator).toBe('example.org');
    expect(unplaced(text.replace('example.org', 'example.net'))).toMatch(
      /^a.yaml: signature: not by publicKey/,
    );
    expect(() => signed(1, { ...FULL, operator: 'two words' })).toThrow(
      /operator: must be 1 to 128 printable/,
    );
  });

  it('may leave the overlay MTU out', () => {
    const key = signingKey(1);
    const document = { ...(parse(TEXT) as Record<string, unknown>) };
    const { overlayMtu: _, signature: __, ...unsigned } = document;
    const canonical =
      '{"addresses":{"ip4":"192.0.2.1","ip6":"2001:db8::1"},"exit":true,"exitPolicy":["reject *:25/tcp","accept *"],' +
      `"name":"relay-a","pools":{"ip4":"10.1.0.0/24","ip6":"fd00:1::/64"},"publicKey":"${document.publicKey}","version":1}`;
    const octets = Buffer.from(`ike-telescope relay descriptor v1\n${canonical}`);
    const signature = Buffer.from(crypto.signatures.sign(key, ED25519, octets)).toString('base64');
    expect(parseDescriptor(JSON.stringify({ ...unsigned, signature }), crypto, 'a').overlayMtu).toBe(1446);
  });

  it('names a key by the SHA-256 of its SubjectPublicKeyInfo', () => {
    // RFC 8032 7.1 test 1; printf SPKI | xxd -r -p | sha256sum
    const spki = Buffer.from(
      '302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
      'hex',
    );
    expect(keyId(spki, crypto)).toBe('06e3fd8fda29bb60ab59557de61edb0a');
  });
});

describe('refusals', () => {
  it.each<[string, (document: Record<string, unknown>) => void]>([
    [
      'name',
      (document) => {
        document.name = 'relay-b';
      },
    ],
    [
      'pool',
      (document) => {
        document.pools = { ip4: '10.2.0.0/24' };
      },
    ],
    [
      'address',
      (document) => {
        document.addresses = { ip4: '192.0.2.66' };
      },
    ],
    [
      'exit',
      (document) => {
        document.exit = false;
      },
    ],
    [
      'overlay MTU',
      (document) => {
        document.overlayMtu = 1300;
      },
    ],
    [
      'order of rules',
      (document) => {
        document.exitPolicy = ['accept *', 'reject *:25/tcp'];
      },
    ],
    [
      'missing rule',
      (document) => {
        delete document.exitPolicy;
      },
    ],
    [
      'key (forged)',
      (document) => {
        document.publicKey = Buffer.from(signingKey(2).publicKey).toString('base64');
      },
    ],
    [
      'signature',
      (document) => {
        document.signature = Buffer.alloc(64).toString('base64');
      },
    ],
  ])('an altered %s', (_name, change) => {
    const message = unplaced(changed(change));
    expect(message).toContain('a.yaml: signature: not by publicKey over this descriptor');
    expect(message).toContain('get it again from its operator');
  });

  it.each<[string, (document: Record<string, unknown>) => void, string]>([
    [
      'a missing field',
      (document) => {
        delete document.pools;
      },
      'a.yaml: pools: ',
    ],
    [
      'a missing signature',
      (document) => {
        delete document.signature;
      },
      'a.yaml: signature: ',
    ],
    [
      'an unknown field',
      (document) => {
        document.bandwidth = 1;
      },
      'a.yaml: bandwidth: no such key; there are version, name, publicKey, ',
    ],
    [
      'an unknown field inside',
      (document) => {
        document.pools = { ip5: '10.0.0.0/8' };
      },
      'a.yaml: pools.ip5: no such key; there are ip4, ip6',
    ],
    [
      'another version',
      (document) => {
        document.version = 2;
      },
      'a.yaml: version: ',
    ],
    [
      'a bad name',
      (document) => {
        document.name = 'a relay';
      },
      'a.yaml: name: must be 1 to 63 letters',
    ],
    [
      'a key that is no base64',
      (document) => {
        document.publicKey = 'AAA';
      },
      'a.yaml: publicKey: not base64',
    ],
    [
      'a key that is no key',
      (document) => {
        document.publicKey = 'AAAA';
      },
      'a.yaml: publicKey: not the SubjectPublicKeyInfo of an Ed25519 key',
    ],
    [
      'a signature that is no base64',
      (document) => {
        document.signature = '???';
      },
      'a.yaml: signature: not base64',
    ],
    [
      'a short signature',
      (document) => {
        document.signature = 'AAAA';
      },
      'a.yaml: signature: must be 64 octets in base64, has 3',
    ],
    [
      'a bad address',
      (document) => {
        document.addresses = { ip4: '192.0.2.300' };
      },
      "a.yaml: addresses.ip4: '192.0.2.300' is not an IPv4 or IPv6 address",
    ],
    [
      'an address of the other family',
      (document) => {
        document.addresses = { ip4: '::1' };
      },
      "addresses.ip4: '::1' is not an IPv4 address",
    ],
    [
      'no address',
      (document) => {
        document.addresses = {};
      },
      'a.yaml: addresses: needs ip4, ip6 or both',
    ],
    [
      'no pool',
      (document) => {
        document.pools = {};
      },
      'a.yaml: pools: needs ip4, ip6 or both',
    ],
    [
      'host bits in a pool',
      (document) => {
        document.pools = { ip4: '10.0.0.1/24' };
      },
      "pools.ip4: '10.0.0.1/24' has host bits set",
    ],
    [
      'a pool of the other family',
      (document) => {
        document.pools = { ip6: '10.0.0.0/24' };
      },
      "pools.ip6: '10.0.0.0/24' is not an IPv6 address block",
    ],
    [
      'a small MTU',
      (document) => {
        document.overlayMtu = 100;
      },
      'a.yaml: overlayMtu: ',
    ],
    [
      'a fractional MTU',
      (document) => {
        document.overlayMtu = 1446.5;
      },
      'a.yaml: overlayMtu: ',
    ],
    [
      'text for a flag',
      (document) => {
        document.exit = 'yes';
      },
      'a.yaml: exit: ',
    ],
  ])('%s', (_name, change, expected) => {
    expect(unplaced(changed(change))).toContain(expected);
  });

  it('names every field that is wrong at once', () => {
    const message = refusal(
      changed((document) => {
        document.name = '';
        delete document.exit;
      }),
    );
    expect(message).toMatch(/^a\.yaml: line 2, column 1: name: must be 1 to 63 letters/);
    expect(message).toMatch(/\na\.yaml: exit: is missing$/);
  });

  it('malformed YAML and JSON, with the line', () => {
    expect(refusal('version: 1\nname: [a\n')).toMatch(/^a\.yaml: line \d+, column \d+: /);
    expect(refusal('version: 1\nname: a\nname: b\n')).toMatch(
      /^a\.yaml: line 3, column 1: Map keys must be unique/,
    );
    expect(refusal('{"version": 1,\n "name": }')).toMatch(/^a\.yaml: /);
    expect(refusal('')).toMatch(/^a\.yaml: /);
    expect(refusal('*nothing')).toMatch(/^a\.yaml: /);
  });

  it('a key of another algorithm', () => {
    const p256 = crypto.signatures.generate('ecdsa-p256');
    expect(() => signDescriptor(FULL, p256, crypto)).toThrow('signed by an Ed25519 key');
    const text = changed((document) => {
      document.publicKey = Buffer.from(p256.publicKey).toString('base64');
    });
    expect(unplaced(text)).toContain('a.yaml: publicKey: not the SubjectPublicKeyInfo of an Ed25519 key');
  });

  it("a pool with the relay's own address in it", () => {
    expect(() => signed(1, statement('a', '10.1.0.1', '10.1.0.0/24'))).toThrow(
      "pools.ip4: 10.1.0.0/24 contains the relay's own address",
    );
  });

  it('any octets: with a DescriptorError only', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(() => parseDescriptor(text, crypto, 'x')).toThrow(DescriptorError);
      }),
    );
  });

  it('any single change of a character', () => {
    fc.assert(
      fc.property(fc.nat(TEXT.length - 1), fc.constantFrom(...'aZ0:[- \n"'), (at, character) => {
        const text = TEXT.slice(0, at) + character + TEXT.slice(at + 1);
        let read: unknown;
        try {
          read = parseDescriptor(text, crypto, 'x');
        } catch (error) {
          expect(error).toBeInstanceOf(DescriptorError);
          return;
        }
        expect(read).toEqual(descriptor(1, FULL));
      }),
    );
  });
});
