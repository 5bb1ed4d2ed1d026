import { describe, expect, it } from 'vitest';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { Proposal } from '../../src/ike/config.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import type { RefusedError } from '../../src/ike/errors.ts';
import { ProtocolId } from '../../src/ike/payload/index.ts';
import {
  chooseProposal,
  defaultChildProposals,
  defaultIkeProposals,
  encodeProposals,
} from '../../src/ike/proposal.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { Pair } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { transforms } from '../support/transforms-text.ts';

const relay = sharedKey('secret of the relay');

interface Suites {
  readonly ike?: readonly Proposal[];
  readonly child?: readonly Proposal[];
}

/** An initiator over noble and a responder over node:crypto. */
function negotiate(initiator: Suites, responder: Suites): Pair {
  const suites = ({ ike, child }: Suites) => ({
    ikeProposals: ike ?? defaultIkeProposals,
    childProposals: child ?? defaultChildProposals,
  });
  const config = responderConfig(nodeProvider(seededRandom(2)), anonymousProfile(relay));
  return new Pair({
    initiator: { ...initiatorConfig(nobleProvider(seededRandom(1)), relay), ...suites(initiator) },
    responder: { ...config, ...suites(responder) },
  }).run(5000);
}

const only = (text: string): readonly Proposal[] => [{ transforms: transforms(text) }];

/** What RFC 8247 2.1 to 2.4 and RFC 8221 5 and 6 say that there must be; what is only there for want of a better, RFC 8247's MUST-, is not in our defaults. */
const MUST_IKE = [
  [
    'ENCR_AES_CBC 128, PRF_HMAC_SHA2_256, AUTH_HMAC_SHA2_256_128, group 14',
    'ENCR 12/128, PRF 5, INTEG 12, KE 14',
  ],
  ['ENCR_AES_CBC 256', 'ENCR 12/256, PRF 5, INTEG 12, KE 14'],
] as const;
const MUST_ESP = [
  ['ENCR_AES_CBC 128, AUTH_HMAC_SHA2_256_128', 'ENCR 12/128, INTEG 12, ESN 0'],
  ['ENCR_AES_CBC 256, AUTH_HMAC_SHA2_256_128', 'ENCR 12/256, INTEG 12, ESN 0'],
  ['ENCR_AES_GCM_16 128, AUTH_NONE', 'ENCR 20/128, INTEG 0, ESN 0'],
  ['ENCR_AES_GCM_16 256, AUTH_NONE', 'ENCR 20/256, ESN 1'],
] as const;

describe('what RFC 8247 and RFC 8221 require', () => {
  it.each(MUST_IKE)('is accepted by our defaults for IKE: %s', (_, text) => {
    const pair = negotiate({ ike: only(text) }, {});
    expectEqualSas(pair);
    expectEqualSas(negotiate({}, { ike: only(text) }));
  });

  it.each(MUST_ESP)('is accepted by our defaults for ESP: %s', (_, text) => {
    const pair = negotiate({ child: only(text) }, {});
    expectEqualSas(pair);
    expectEqualSas(negotiate({}, { child: only(text) }));
  });

  it.each([
    ['PRF_HMAC_SHA1 and AUTH_HMAC_SHA1_96', 'ENCR 12/128, PRF 2, INTEG 2, KE 14'],
    ['PRF_AES128_XCBC', 'ENCR 12/128, PRF 4, INTEG 12, KE 31'],
  ])('is there for IKE where both ends configure it, and not by default: %s', (_, text) => {
    expectEqualSas(negotiate({ ike: only(text) }, { ike: only(text) }));
    expectRefused(negotiate({ ike: only(text) }, {}));
  });

  it.each([
    ['ENCR_NULL and AUTH_HMAC_SHA2_256_128', 'ENCR 11, INTEG 12, ESN 0'],
    ['AUTH_HMAC_SHA1_96', 'ENCR 12/128, INTEG 2, ESN 0'],
  ])('is there for ESP where both ends configure it, and not by default: %s', (_, text) => {
    expectEqualSas(negotiate({ child: only(text) }, { child: only(text) }));
    expectChildRefused(negotiate({ child: only(text) }, {}));
  });

  it.each([
    ['ENCR_DES', 'ENCR 2, PRF 5, INTEG 12, KE 14'],
    ['PRF_HMAC_MD5', 'ENCR 12/128, PRF 1, INTEG 12, KE 14'],
    ['AUTH_HMAC_MD5_96', 'ENCR 12/128, PRF 5, INTEG 1, KE 14'],
    ['group 1', 'ENCR 12/128, PRF 5, INTEG 12, KE 14, KE 1', 'KE 14'],
    ['group 22', 'ENCR 12/128, PRF 5, INTEG 12, KE 14, KE 22', 'KE 14'],
  ])('is refused for IKE where it says MUST NOT: %s', (_, text, without = '') => {
    // The initiator sends KE 14, which is not what decides: the responder sees the offer without it.
    const offer = only(text)[0].transforms.filter((transform) => without !== `KE ${transform.id}`);
    const choose = (ours: readonly Proposal[]) =>
      chooseProposal(
        ours,
        encodeProposals([{ transforms: offer }], ProtocolId.IKE, new Uint8Array(0)),
        ProtocolId.IKE,
      );
    expect(choose(defaultIkeProposals)).toBeUndefined();
  });

  it.each([
    ['ENCR_NULL', 'ENCR 11, PRF 5, INTEG 12, KE 14'],
    ['an implicit IV (RFC 8750)', 'ENCR 30/256, PRF 5, KE 31'],
  ])('is refused for IKE even where it is configured: %s', (_, text) => {
    expectRefused(negotiate({ ike: only(text) }, { ike: only(text) }));
  });

  it.each([
    ['ENCR_DES', 'ENCR 2, INTEG 12, ESN 0'],
    ['ENCR_BLOWFISH', 'ENCR 7/128, INTEG 12, ESN 0'],
    ['AUTH_HMAC_MD5_96', 'ENCR 12/128, INTEG 1, ESN 0'],
    ['AUTH_NONE without AEAD', 'ENCR 12/128, ESN 0'],
  ])('is refused for ESP where it says MUST NOT: %s', (_, text) => {
    expectChildRefused(negotiate({ child: only(text) }, {}));
  });
});

describe('every algorithm that we have is there end to end, between the providers', () => {
  it.each([
    'ENCR 14/128, PRF 8, KE 15',
    'ENCR 15/128, PRF 7, KE 16',
    'ENCR 16/256, PRF 6, KE 20',
    'ENCR 18/128, PRF 5, KE 21',
    'ENCR 19/256, PRF 5, KE 35',
    'ENCR 20/256, PRF 5, KE 36',
    'ENCR 28, PRF 5, KE 37',
    'ENCR 12/256, PRF 6, INTEG 13, KE 19',
    'ENCR 12/256, PRF 7, INTEG 14, KE 31',
  ])('for IKE: %s', (text) => {
    expectEqualSas(negotiate({ ike: only(text) }, { ike: only(text) }));
  });

  it.each([
    'ENCR 11, INTEG 2, ESN 1',
    'ENCR 12/192, INTEG 13, ESN 1',
    'ENCR 12/256, INTEG 14, ESN 0',
    'ENCR 14/128, ESN 1',
    'ENCR 16/256, ESN 0',
    'ENCR 18/128, ESN 1',
    'ENCR 19/192, INTEG 0, ESN 1',
    'ENCR 29/128, ESN 1',
    'ENCR 30/256, ESN 1',
    'ENCR 30/128, ESN 0',
    'ENCR 31, ESN 1',
  ])('for ESP: %s', (text) => {
    expectEqualSas(negotiate({ child: only(text) }, { child: only(text) }));
  });
});

/** No IKE SA for want of an acceptable proposal. */
function expectRefused(pair: Pair): void {
  pair.run(60_000);
  expect((pair.initiator.ending as RefusedError).notify).toBe(NotifyType.NO_PROPOSAL_CHOSEN);
  expect(pair.responder.eventTypes).toEqual(['closed']);
}

/** An IKE SA without a Child SA, for want of an acceptable proposal. */
function expectChildRefused(pair: Pair): void {
  expect((pair.initiator.event('child-failed').error as RefusedError).notify).toBe(
    NotifyType.NO_PROPOSAL_CHOSEN,
  );
  expect(pair.responder.eventTypes).toContain('established');
}
