import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeCertificateFields } from '../../src/crypto/certificate-fields.ts';
import { DerTag, encodeDer } from '../../src/crypto/der.ts';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { CertificateName } from '../../src/crypto/provider.ts';
import { concat } from '../../src/wire/bytes.ts';
import { certificate, TODAY } from '../support/pki.ts';

const certificates = nodeProvider().certificates!;
const DNS: CertificateName = { kind: 'dns', name: 'relay.example' };
const root = certificate('root');
const intermediate = certificate('intermediate');

function verify(
  chain: readonly (string | Uint8Array)[],
  demands: Partial<Parameters<typeof certificates.verify>[1]> = {},
) {
  const der = chain.map((one) => (typeof one === 'string' ? certificate(one) : one));
  return certificates.verify(der, { authorities: [root], time: TODAY, name: DNS, ...demands });
}

function refusal(...args: Parameters<typeof verify>): string {
  const verdict = verify(...args);
  return verdict.ok ? 'accepted' : verdict.reason;
}

describe('a chain of certificates', () => {
  it.each(['relay-rsa', 'relay-ecdsa', 'relay-ed25519'])('gives the key of its leaf: %s', (name) => {
    const verdict = verify([name, 'intermediate']);
    expect(verdict).toEqual({ ok: true, publicKey: decodeCertificateFields(certificate(name)).publicKey });
  });

  it('leads to an authority in any order, past certificates that have nothing to do with it', () => {
    const others = ['foreign-root', 'loop-a', 'depth-1', 'expired-ca'];
    expect(verify(['relay-rsa', ...others, 'root', 'intermediate', 'relay-ecdsa']).ok).toBe(true);
    expect(verify(['deep', 'depth-2', 'depth-1', 'depth-3']).ok).toBe(true);
    expect(verify(['relay-rsa'], { authorities: [intermediate] }).ok).toBe(true);
    expect(verify(['relay-rsa', new Uint8Array(0), 'intermediate', root.subarray(1)]).ok).toBe(true);
  });

  it('is refused if it does not lead to an authority', () => {
    const none = 'no chain leads from it to an authority';
    expect(refusal(['relay-rsa'])).toBe(none);
    expect(refusal(['relay-rsa', 'root'])).toBe(none);
    expect(refusal(['relay-rsa', 'intermediate'], { authorities: [] })).toBe(none);
    expect(refusal(['relay-rsa', 'intermediate'], { authorities: [certificate('foreign-root')] })).toBe(none);
    expect(refusal(['foreign', 'foreign-root'])).toBe(none);
    expect(refusal(['foreign'])).toBe(none);
    expect(verify(['foreign'], { authorities: [certificate('foreign-root')] }).ok).toBe(true);
    expect(refusal(['looped', 'loop-a', 'loop-b'])).toBe(none);
    expect(refusal(['intermediate', 'relay-rsa'])).toContain('digitalSignature');
  });

  it('has at most five certificates, the authority included', () => {
    expect(refusal(['deeper', 'depth-4', 'depth-3', 'depth-2', 'depth-1'])).toContain('no chain');
    expect(
      verify(['deeper', 'depth-4', 'depth-3', 'depth-2'], { authorities: [certificate('depth-1')] }).ok,
    ).toBe(true);
  });

  it.each([
    ['no-ca', 'which is no CA'],
    ['no-cert-sign', 'whose key is not for certificates'],
    ['expired-ca', 'which has expired'],
    ['constrained', 'which has name constraints'],
  ])('is refused with an issuer %s, %s', (name) => {
    expect(refusal([`under-${name}`, name])).toContain('no chain');
    expect(refusal([`under-${name}`], { authorities: [certificate(name)] })).toContain('no chain');
  });

  it('is refused when it is longer than an issuer on the way allows', () => {
    expect(refusal(['under-too-long', 'too-long', 'intermediate'])).toContain('no chain');
    expect(verify(['under-too-long'], { authorities: [certificate('too-long')] }).ok).toBe(true);
  });

  it.each([
    ['expired', 'it expired on Jan  1 00:00:00 2021 GMT'],
    ['early', 'it is not valid before Jan  1 00:00:00 2100 GMT'],
    ['encipherment', 'its key usage has no digitalSignature'],
    ['client-only', 'its extended key usage has none of serverAuth, ipsecIKE and anyExtendedKeyUsage'],
    ['sha1', 'its signature algorithm is weak, or not known'],
    ['weak', 'its key is weak, or not of Ed25519, ECDSA or RSA'],
    ['critical', 'it has a critical extension that is not known, or name constraints'],
    ['nameless', 'it is not for the identity that the peer claims'],
  ])('is refused with a leaf %s: %s', (name, reason) => {
    expect(refusal([name])).toBe(reason);
  });

  it('is judged by the date that it is given', () => {
    expect(verify(['expired'], { time: Date.UTC(2020, 5, 1) }).ok).toBe(true);
    expect(verify(['early'], { time: Date.UTC(2110, 5, 1) }).ok).toBe(true);
    expect(refusal(['relay-rsa', 'intermediate'], { time: Date.UTC(2019, 11, 31) })).toContain(
      'not valid before',
    );
    expect(refusal(['relay-rsa', 'intermediate'], { time: Date.UTC(2120, 0, 2) })).toContain('expired');
    expect(refusal(['relay-rsa', 'intermediate'], { time: Number.NaN })).toContain('not valid before');
  });
});

describe('the name in a certificate', () => {
  const { subject } = decodeCertificateFields(certificate('relay-rsa'));
  const matches = (name: CertificateName) => verify(['relay-rsa', 'intermediate'], { name }).ok;

  it('is one of subjectAltName, or the subject', () => {
    expect(matches({ kind: 'dns', name: 'RELAY.example' })).toBe(true);
    expect(matches({ kind: 'email', name: 'relay@relay.example' })).toBe(true);
    expect(matches({ kind: 'ip', address: '192.0.2.1' })).toBe(true);
    expect(matches({ kind: 'ip', address: '2001:db8::1' })).toBe(true);
    expect(matches({ kind: 'subject', der: subject })).toBe(true);
  });

  it('is nothing else: no part of it, no wildcard, not the common name', () => {
    const dns = ['relay', 'example', '.example', '*.example', 'a.relay.example', 'relay.example.', ''];
    for (const name of [
      ...dns,
      'relay.example\0',
      'relay.example\0.evil',
      'relay.exampl\u0119',
      '192.0.2.1',
    ]) {
      expect(matches({ kind: 'dns', name })).toBe(false);
    }
    for (const name of [
      'relay.example',
      'other@relay.example',
      '@relay.example',
      '',
      'relay@relay.example\0',
    ]) {
      expect(matches({ kind: 'email', name })).toBe(false);
    }
    for (const address of ['192.0.2.2', '2001:db8::2', '::ffff:192.0.2.1']) {
      expect(matches({ kind: 'ip', address })).toBe(false);
    }
    expect(matches({ kind: 'subject', der: decodeCertificateFields(intermediate).subject })).toBe(false);
    expect(matches({ kind: 'subject', der: new Uint8Array(0) })).toBe(false);
    expect(refusal(['nameless'], { name: { kind: 'dns', name: 'relay' } })).toContain('not for the identity');
  });
});

describe('certificates as anybody could send them', () => {
  const relay = certificate('relay-rsa');

  it('are refused when one bit of the chain is wrong (bad input 13)', () => {
    for (let at = 0; at < relay.length; at += 11) {
      const changed = relay.with(at, relay[at] ^ 1);
      expect(refusal([changed, intermediate]), `octet ${at}`).not.toBe('accepted');
      if (at >= intermediate.length) continue;
      expect(refusal([relay, intermediate.with(at, intermediate[at] ^ 1)]), `octet ${at}`).not.toBe(
        'accepted',
      );
    }
  });

  it('are at most ten, and none without any (bad input 13)', () => {
    expect(refusal([])).toBe('there is none');
    expect(refusal([relay, ...Array<Uint8Array>(9).fill(intermediate)])).toBe('accepted');
    expect(refusal([relay, ...Array<Uint8Array>(10).fill(intermediate)])).toBe('there are more than 10');
  });

  it('are refused when they are empty, cut short, or have something after them (bad input 13)', () => {
    const pem = Buffer.from(
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(relay).toString('base64')}\n-----END CERTIFICATE-----\n`,
    );
    const long = encodeDer(DerTag.SEQUENCE, new Uint8Array(20_000));
    const nested = Array.from({ length: 2000 }).reduce<Uint8Array>(
      (inside) => encodeDer(DerTag.SEQUENCE, inside),
      new Uint8Array(0),
    );
    for (const wrong of [
      new Uint8Array(0),
      Uint8Array.of(0x30),
      Uint8Array.of(0x30, 0x80, 0, 0),
      Uint8Array.of(0x30, 0x84, 0xff, 0xff, 0xff, 0xff),
      relay.subarray(0, -1),
      relay.subarray(1),
      concat(relay, Uint8Array.of(0)),
      concat(relay, relay),
      new Uint8Array(pem),
      long,
      nested,
    ]) {
      expect(refusal([wrong, intermediate])).toBe('it is malformed');
    }
  });

  it('cost little, however many of them certify each other (bad input 13)', () => {
    const chain = [
      'looped',
      'loop-a',
      'loop-b',
      'loop-a',
      'loop-b',
      'loop-a',
      'loop-b',
      'loop-a',
      'loop-b',
      'loop-a',
    ];
    expect(refusal(chain)).toContain('no chain');
  });

  it('never make it throw', () => {
    const name = fc.oneof(
      fc.record({ kind: fc.constantFrom('dns' as const, 'email' as const), name: fc.string() }),
      fc.record({ kind: fc.constant('ip' as const), address: fc.ipV4() }),
      fc.record({ kind: fc.constant('subject' as const), der: fc.uint8Array() }),
    );
    const change = fc.tuple(fc.nat(relay.length - 1), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 4 }),
        fc.uint8Array(),
        name,
        (changes, noise, of) => {
          const changed = relay.slice();
          for (const [at, octet] of changes) changed[at] = octet;
          for (const chain of [[changed, intermediate], [relay, changed, noise], [noise]]) {
            expect(certificates.verify(chain, { authorities: [root], time: TODAY, name: of })).toHaveProperty(
              'ok',
            );
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("of an authority are the configuration's, and an error when they are malformed", () => {
    expect(() => verify(['relay-rsa'], { authorities: [new Uint8Array(3)] })).toThrow(RangeError);
  });

  it('are not known to the pure TypeScript provider', () => {
    expect(nobleProvider().certificates).toBeUndefined();
  });
});
