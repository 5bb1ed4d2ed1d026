import { describe, expect, it } from 'vitest';
import { decodeCertificateFields } from '../../src/crypto/certificate-fields.ts';
import { nobleProvider } from '../../src/crypto/noble.ts';
import type { Identity, LocalAuthentication, RemoteAuthentication } from '../../src/ike/config.ts';
import { IdType, NotifyType } from '../../src/ike/constants.ts';
import { AuthenticationError, LocalError, RefusedError } from '../../src/ike/errors.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { hex, utf8 } from '../../src/wire/bytes.ts';
import { anonymousProfile, initiatorConfig, NULL_AUTH, responderConfig } from '../support/ike-configs.ts';
import { names, Pair, testCrypto } from '../support/pair.ts';
import { expectNothingLeft } from '../support/pair-assertions.ts';
import { certificate, certified, TODAY } from '../support/pki.ts';

const crypto = testCrypto(41);
const { provider } = crypto;
const relay = certified(provider, 'relay-rsa');
const base = { local: relay.local, remote: NULL_AUTH };

interface Ends {
  readonly local?: LocalAuthentication;
  readonly remote?: RemoteAuthentication;
  readonly certificateAuthorities?: readonly Uint8Array[];
}

/** An anonymous client that demands `remote` of a responder that proves itself by `local`. */
function meet({ local = relay.local, remote = relay.remote, ...ofResponder }: Ends): Pair {
  return new Pair({
    initiator: { ...initiatorConfig(provider, base), remote },
    responder: { ...responderConfig(provider, { ...anonymousProfile(base), local }), ...ofResponder },
  }).run(5000);
}

function messages(pair: Pair): string[][] {
  return pair.sent.map(({ message }) => names(crypto.read(message)));
}

describe('a responder with a certificate', () => {
  it.each(['relay-rsa', 'relay-ecdsa', 'relay-ed25519'] as const)('proves itself by %s', (name) => {
    const { local, remote } = certified(provider, name);
    const pair = meet({ local, remote });
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-established']);
    const { peer } = pair.initiator.event('established');
    expect(peer.identity).toEqual({ type: IdType.ID_FQDN, data: utf8('relay.example') });
    expect(peer.publicKey).toEqual(decodeCertificateFields(certificate(name)).publicKey);
    expect(messages(pair)[3].slice(0, 4)).toEqual(['IDr', 'CERT', 'CERT', 'AUTH']);
  });

  it('proves itself to who has pinned the key of its leaf, whatever its chain is', () => {
    const { publicKey } = relay.local.key;
    const local = { ...relay.local, certificates: [certificate('expired'), new Uint8Array(3)] };
    const pair = meet({ local, remote: { kind: 'signature', publicKey } });
    expect(pair.initiator.event('established').peer.publicKey).toEqual(publicKey);
  });

  const identities: readonly [string, Identity][] = [
    ['a domain name', { type: IdType.ID_FQDN, data: utf8('relay.example') }],
    ['a mail address', { type: IdType.ID_RFC822_ADDR, data: utf8('relay@relay.example') }],
    ['an IPv4 address', { type: IdType.ID_IPV4_ADDR, data: addressBytes('192.0.2.1') }],
    ['an IPv6 address', { type: IdType.ID_IPV6_ADDR, data: addressBytes('2001:db8::1') }],
    [
      'its distinguished name',
      { type: IdType.ID_DER_ASN1_DN, data: decodeCertificateFields(certificate('relay-rsa')).subject },
    ],
  ];

  it.each(identities)(
    'is known by %s, which need not be the one that was expected first (rule 39)',
    (_, identity) => {
      const local = { ...relay.local, identity };
      expect(meet({ local }).initiator.event('established').peer.identity).toEqual(identity);
      expect(meet({ local, remote: { ...relay.remote, identity } }).initiator.ike.established).toBe(true);
      const other = { type: IdType.ID_FQDN, data: utf8('other.example') };
      const pair = meet({ local, remote: { ...relay.remote, identity: other } });
      expect(pair.initiator.ending?.message).toContain('another identity');
      expectNothingLeft(pair);
    },
  );

  const impostors: readonly [string, Ends, string][] = [
    [
      'another identity than its certificate is for',
      { local: { ...relay.local, identity: { type: IdType.ID_FQDN, data: utf8('other.example') } } },
      'not for the identity',
    ],
    [
      'an identity that no certificate is for',
      { local: { ...relay.local, identity: { type: IdType.ID_KEY_ID, data: utf8('relay.example') } } },
      'identities of type 11',
    ],
    [
      'an address of three octets',
      { local: { ...relay.local, identity: { type: IdType.ID_IPV4_ADDR, data: new Uint8Array(3) } } },
      'identities of type 1',
    ],
    [
      "somebody else's certificate",
      { local: { ...certified(provider, 'relay-ecdsa').local, certificates: relay.local.certificates! } },
      'did not prove that it has the key of its certificate',
    ],
    ['no certificate', { local: { ...relay.local, certificates: [] } }, 'there is none'],
    ['a raw public key', { local: { ...relay.local, certificates: [], sendKey: true } }, 'there is none'],
    [
      'a certificate that has expired',
      { remote: { ...relay.remote, time: () => Date.UTC(2130, 0, 1) } },
      'it expired',
    ],
    ['a certificate of another authority', { remote: { ...relay.remote, authorities: [] } }, 'no chain'],
    ['an empty certificate', { local: { ...relay.local, certificates: [new Uint8Array(0)] } }, 'malformed'],
    ['NULL authentication', { local: NULL_AUTH }, 'identities of type 13'],
  ];

  it.each(impostors)('is refused with %s, and told (bad input 13)', (_, ends, reason) => {
    const pair = meet(ends);
    expect(pair.initiator.eventTypes).toEqual(['closed']);
    expect(pair.initiator.ending).toBeInstanceOf(AuthenticationError);
    expect(pair.initiator.ending?.message).toContain(reason);
    expect(messages(pair).at(-2)).toEqual(['N(AUTHENTICATION_FAILED)']);
    expect(pair.responder.ending).toMatchObject({ notify: NotifyType.AUTHENTICATION_FAILED });
    expectNothingLeft(pair);
  });

  it('is refused with a hundred certificates (bad input 13)', () => {
    const many = Array<Uint8Array>(90).fill(Uint8Array.of(0x30, 0));
    const pair = meet({ local: { ...relay.local, certificates: [...relay.local.certificates!, ...many] } });
    expect(pair.initiator.eventTypes).toEqual(['closed']);
    expect(pair.initiator.ending).toMatchObject({ notify: NotifyType.INVALID_SYNTAX });
    expectNothingLeft(pair);
  });

  it('says which authorities it wants with CERTREQ, if it is told to, and nobody minds', () => {
    const pair = meet({ certificateAuthorities: [certificate('root'), certificate('intermediate')] });
    expect(pair.initiator.ike.established).toBe(true);
    const [, response] = pair.sent;
    const request = crypto.read(response.message).find(({ kind }) => kind === 'CERTREQ');
    const hashes = ['root', 'intermediate'].map((name) =>
      hex(provider.hash('sha1', decodeCertificateFields(certificate(name)).publicKey)),
    );
    expect(request).toMatchObject({ encoding: 4 });
    expect(request?.kind === 'CERTREQ' && hex(request.data)).toBe(hashes.join(''));
    const plain = meet({});
    expect(messages(plain).flat()).not.toContain('CERTREQ');
  });

  it('is not verified by a provider without certificates, which says so', () => {
    const noble = nobleProvider();
    const ecdsa = certified(provider, 'relay-ecdsa');
    const pair = new Pair({
      initiator: { ...initiatorConfig(noble, base), remote: ecdsa.remote },
      responder: responderConfig(provider, { ...anonymousProfile(base), local: ecdsa.local }),
    }).run(5000);
    expect(pair.initiator.ending).toBeInstanceOf(LocalError);
    expect(pair.initiator.ending?.message).toContain('noble');
    expectNothingLeft(pair);
  });
});

describe('an initiator with a certificate', () => {
  const pinned = { kind: 'signature', publicKey: relay.local.key.publicKey } as const;

  function meetClient(local: LocalAuthentication, remote: RemoteAuthentication): Pair {
    return new Pair({
      initiator: { ...initiatorConfig(provider, base), local, remote: pinned },
      responder: responderConfig(provider, { ...anonymousProfile(base), remote }),
    }).run(5000);
  }

  it('proves itself to a responder that demands one', () => {
    const { local, remote } = certified(provider, 'relay-ecdsa');
    const pair = meetClient(local, remote);
    const { peer } = pair.responder.event('established');
    expect(peer.publicKey).toEqual(local.key.publicKey);
    expect(peer.identity.data).toEqual(utf8('relay.example'));
    expect(messages(pair)[2].slice(0, 4)).toEqual(['IDi', 'CERT', 'CERT', 'AUTH']);
  });

  it.each([
    ['without one', NULL_AUTH],
    ['with one of another authority', { ...relay.local, certificates: [certificate('foreign')] }],
    ['with one that is empty', { ...relay.local, certificates: [new Uint8Array(0)] }],
  ] as const)('is refused %s (bad input 13)', (_, local) => {
    const pair = meetClient(local, relay.remote);
    expect(pair.responder.eventTypes).toEqual(['closed']);
    expect(pair.responder.ending).toBeInstanceOf(AuthenticationError);
    expect(pair.responderStore.log).toEqual([]);
    expect(pair.initiator.ending).toBeInstanceOf(RefusedError);
    expectNothingLeft(pair);
  });

  it('is judged by the date at that time', () => {
    let time = Date.UTC(2130, 0, 1);
    const remote = { ...relay.remote, time: () => time };
    expect(meetClient(relay.local, remote).responder.ending?.message).toContain('expired');
    time = TODAY;
    expect(meetClient(relay.local, remote).responder.ike.established).toBe(true);
  });
});
