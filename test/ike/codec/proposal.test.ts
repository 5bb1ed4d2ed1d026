import { describe, expect, it } from 'vitest';
import type { Proposal } from '../../../src/ike/config.ts';
import { ProtocolError } from '../../../src/ike/errors.ts';
import { type ProposalPayload, ProtocolId } from '../../../src/ike/payload/payload.ts';
import {
  chooseProposal,
  defaultChildProposals,
  defaultIkeProposals,
  encodeProposals,
  espSuite,
  ikeSuite,
  postQuantumIkeProposals,
  relayIkeProposals,
  verifyAnswer,
} from '../../../src/ike/proposal.ts';
import { fromHex } from '../../../src/wire/bytes.ts';
import { transforms } from '../../support/transforms-text.ts';

const NO_SPI = new Uint8Array(0);
const SPI = fromHex('c0ffee01');
const { IKE, ESP, AH } = ProtocolId;

const proposal = (text: string): Proposal => ({ transforms: transforms(text) });
const offer = (protocol: number, spi: Uint8Array, ...texts: readonly string[]): ProposalPayload[] =>
  encodeProposals(texts.map(proposal), protocol, spi);

describe('encodeProposals', () => {
  it('numbers from 1 (rule 45)', () => {
    const list = encodeProposals(defaultChildProposals, ESP, SPI);
    expect(list.map(({ number, protocol, spi }) => ({ number, protocol, spi }))).toEqual([
      { number: 1, protocol: ESP, spi: SPI },
      { number: 2, protocol: ESP, spi: SPI },
    ]);
    expect(list[1].transforms).toEqual(defaultChildProposals[1].transforms);
  });
});

describe('chooseProposal for an IKE SA', () => {
  const choose = (...texts: readonly string[]) =>
    chooseProposal(defaultIkeProposals, offer(IKE, NO_SPI, ...texts), IKE);

  it('takes what we prefer of our own offer', () => {
    const own = encodeProposals(defaultIkeProposals, IKE, NO_SPI);
    const chosen = chooseProposal(defaultIkeProposals, own, IKE);
    expect(chosen).toEqual({
      number: 1,
      spi: NO_SPI,
      transforms: transforms('ENCR 20/256, PRF 5, KE 31'),
    });
    expect(ikeSuite(chosen!)).toEqual({
      encryption: 20,
      keyLength: 256,
      integrity: 0,
      prf: 5,
      keyExchange: 31,
      additional: [],
    });
  });

  it.each([
    [
      'our order of transforms, not theirs',
      ['ENCR 20/128, ENCR 20/256, PRF 7, PRF 6, KE 14, KE 19'],
      1,
      'ENCR 20/256, PRF 6, KE 19',
    ],
    [
      'our order of proposals, not theirs',
      ['ENCR 12/256, PRF 5, INTEG 12, KE 31', 'ENCR 20/128, PRF 5, KE 31'],
      2,
      'ENCR 20/128, PRF 5, KE 31',
    ],
    [
      'AEAD with INTEG NONE, which is answered',
      ['ENCR 20/256, PRF 5, INTEG 0, KE 31'],
      1,
      'ENCR 20/256, PRF 5, INTEG 0, KE 31',
    ],
    [
      'CBC with an integrity transform',
      ['ENCR 12/128, PRF 5, INTEG 12, INTEG 14, KE 14'],
      1,
      'ENCR 12/128, PRF 5, INTEG 12, KE 14',
    ],
    [
      'an unknown transform is not chosen',
      ['ENCR 999/256, ENCR 20/256, PRF 5, KE 1025, KE 31'],
      1,
      'ENCR 20/256, PRF 5, KE 31',
    ],
    [
      'the first sound proposal',
      ['ENCR 20/256, PRF 5', 'ENCR 20/256, PRF 5, KE 31'],
      2,
      'ENCR 20/256, PRF 5, KE 31',
    ],
    ['ChaCha20 without Key Length', ['ENCR 28, PRF 5, KE 31'], 1, 'ENCR 28, PRF 5, KE 31'],
  ])('%s', (_, texts, number, expected) => {
    expect(choose(...texts)).toEqual({ number, spi: NO_SPI, transforms: transforms(expected) });
  });

  it.each([
    ['no key exchange', 'ENCR 20/256, PRF 5'],
    ['key exchange NONE', 'ENCR 20/256, PRF 5, KE 0'],
    ['no PRF', 'ENCR 20/256, KE 31'],
    ['no encryption', 'PRF 5, KE 31'],
    ['nothing', ''],
    ['AES without Key Length (rule 46)', 'ENCR 20, PRF 5, KE 31'],
    ['another Key Length', 'ENCR 20/192, PRF 5, KE 31'],
    ['ChaCha20 with Key Length', 'ENCR 28/256, PRF 5, KE 31'],
    ['AEAD with integrity', 'ENCR 20/256, PRF 5, INTEG 12, KE 31'],
    ['CBC without integrity', 'ENCR 12/256, PRF 5, KE 31'],
    ['CBC with integrity NONE', 'ENCR 12/256, PRF 5, INTEG 0, KE 31'],
    ['an unknown transform type (rule 50)', 'ENCR 20/256, PRF 5, KE 31, 13 36'],
    ['a type of ours that is not optional to the peer', 'ENCR 20/256, PRF 5, KE 31, 6 36'],
    ['ESN, which IKE does not have', 'ENCR 20/256, PRF 5, KE 31, ESN 0'],
    ['unknown groups only', 'ENCR 20/256, PRF 5, KE 0, KE 1025, KE 65535'],
  ])('refuses a proposal with %s', (_, text) => {
    expect(choose(text)).toBeUndefined();
  });

  it('refuses transforms with attributes that it does not understand', () => {
    const [known] = offer(IKE, NO_SPI, 'ENCR 20/256, ENCR 20/128, PRF 5, KE 31');
    const list = known.transforms.map((t) => (t.keyLength === 256 ? { ...t, unsupported: true } : t));
    expect(chooseProposal(defaultIkeProposals, [{ ...known, transforms: list }], IKE)?.transforms).toEqual(
      transforms('ENCR 20/128, PRF 5, KE 31'),
    );
  });

  it('passes over other protocols and impossible SPIs', () => {
    const text = 'ENCR 20/256, PRF 5, KE 31';
    for (const spi of [new Uint8Array(8), new Uint8Array(4).fill(1), new Uint8Array(9).fill(1)]) {
      expect(chooseProposal(defaultIkeProposals, offer(IKE, spi, text), IKE)).toBeUndefined();
    }
    expect(chooseProposal(defaultIkeProposals, offer(ESP, NO_SPI, text), IKE)).toBeUndefined();
    const spi = new Uint8Array(8).fill(1);
    expect(chooseProposal(defaultIkeProposals, offer(IKE, spi, text), IKE)?.spi).toEqual(spi);
  });

  it('has no choice in an empty offer', () => {
    expect(choose()).toBeUndefined();
  });
});

describe('additional key exchanges (RFC 9370 2.2.1)', () => {
  const choose = (ours: string, ...offered: readonly string[]) =>
    chooseProposal([proposal(ours)], offer(IKE, NO_SPI, ...offered), IKE);
  const OURS =
    'ENCR 20/256, PRF 5, KE 31, KE 36, ADDKE1 36, ADDKE1 35, ADDKE1 0, ADDKE2 36, ADDKE2 37, ADDKE2 0';

  it.each([
    ['the first of each', 'KE 31, ADDKE1 35, ADDKE1 36, ADDKE2 37', 'KE 31, ADDKE1 36, ADDKE2 37'],
    ['no method twice', 'KE 31, ADDKE1 36, ADDKE2 36, ADDKE2 37', 'KE 31, ADDKE1 36, ADDKE2 37'],
    [
      'another one first, so that the last is possible',
      'KE 31, ADDKE1 36, ADDKE1 35, ADDKE2 36',
      'KE 31, ADDKE1 35, ADDKE2 36',
    ],
    ['none of the method of IKE_SA_INIT', 'KE 36, ADDKE1 36, ADDKE1 35', 'KE 36, ADDKE1 35'],
    ['NONE, which is answered', 'KE 31, ADDKE1 0, ADDKE2 0', 'KE 31, ADDKE1 0, ADDKE2 0'],
    ['NONE for what is not offered', 'KE 31, ADDKE2 37', 'KE 31, ADDKE2 37'],
    ['none at all', 'KE 31', 'KE 31'],
  ])('chooses %s', (_, offered, chosen) => {
    const rest = 'ENCR 20/256, PRF 5, ';
    const answer = choose(OURS, rest + offered);
    expect(answer?.transforms).toEqual(transforms(rest + chosen));
    expect(verifyAnswer([proposal(rest + offered)], [{ protocol: IKE, ...answer! }], IKE)).toEqual(answer);
  });

  it.each([
    ['one method for two types', 'KE 31, ADDKE1 36, ADDKE2 36'],
    ['methods that we do not have', 'KE 31, ADDKE1 1, ADDKE1 1025'],
    ['a type that we do not have, without NONE', 'KE 31, 8 36'],
  ])('refuses %s', (_, offered) => {
    expect(choose(OURS, `ENCR 20/256, PRF 5, ${offered}`)).toBeUndefined();
  });

  it('are refused to peers that do not offer them, where they are demanded', () => {
    expect(choose('ENCR 20/256, PRF 5, KE 31, ADDKE1 36', 'ENCR 20/256, PRF 5, KE 31')).toBeUndefined();
  });

  it('of an answer must be those that were offered, none of them twice', () => {
    const ours = [proposal(OURS)];
    for (const answer of [
      'KE 31, ADDKE1 36, ADDKE2 36',
      'KE 31, ADDKE1 37',
      'KE 36, ADDKE1 36',
      'KE 31, 8 37',
    ]) {
      const offered = offer(IKE, NO_SPI, `ENCR 20/256, PRF 5, ${answer}`);
      expect(() => verifyAnswer(ours, offered, IKE)).toThrow(ProtocolError);
    }
  });

  it('do not hold up the choice, however many are offered', () => {
    const types = [6, 7, 8, 9, 10, 11, 12];
    const all = types.flatMap((type) => [35, 36, 37].map((id) => `${type} ${id}`)).join(', ');
    const text = `ENCR 20/256, PRF 5, KE 31, ${all}`;
    expect(choose(text, text)).toBeUndefined();
  });

  it('are taken by relays, and offered only by who wants them', () => {
    const offered = encodeProposals(postQuantumIkeProposals, IKE, NO_SPI);
    const chosen = chooseProposal(relayIkeProposals, offered, IKE)!;
    expect(chosen.transforms).toEqual(transforms('ENCR 20/256, PRF 5, KE 31, ADDKE1 36'));
    expect(ikeSuite(chosen).additional).toEqual([36]);
    const standard = encodeProposals(defaultIkeProposals, IKE, NO_SPI);
    expect(chooseProposal(relayIkeProposals, standard, IKE)).toEqual(
      chooseProposal(defaultIkeProposals, standard, IKE),
    );
  });
});

describe('chooseProposal for a Child SA', () => {
  const choose = (...texts: readonly string[]) =>
    chooseProposal(defaultChildProposals, offer(ESP, SPI, ...texts), ESP);

  it.each([
    ['extended sequence numbers first', ['ENCR 20/256, ESN 0, ESN 1'], 1, 'ENCR 20/256, ESN 1'],
    ['short sequence numbers', ['ENCR 20/256, ESN 0'], 1, 'ENCR 20/256, ESN 0'],
    [
      'key exchange NONE, which is answered',
      ['ENCR 20/256, KE 0, KE 31, ESN 0'],
      1,
      'ENCR 20/256, KE 0, ESN 0',
    ],
    [
      'integrity NONE, which is answered (rule 47)',
      ['ENCR 20/256, INTEG 0, ESN 0'],
      1,
      'ENCR 20/256, INTEG 0, ESN 0',
    ],
    ['ChaCha20', ['ENCR 28, ESN 1'], 1, 'ENCR 28, ESN 1'],
    ['CBC', ['ENCR 12/128, INTEG 2, INTEG 12, ESN 0'], 1, 'ENCR 12/128, INTEG 12, ESN 0'],
  ])('%s', (_, texts, number, expected) => {
    expect(choose(...texts)).toEqual({ number, spi: SPI, transforms: transforms(expected) });
  });

  it.each([
    ['no ESN (rule 49)', 'ENCR 20/256'],
    ['key exchange that is not optional', 'ENCR 20/256, KE 31, ESN 0'],
    ['a PRF', 'ENCR 20/256, PRF 5, ESN 0'],
    ['CBC without integrity', 'ENCR 12/256, ESN 0'],
    ['an unknown ESN value', 'ENCR 20/256, ESN 2'],
    ['a NULL cipher', 'ENCR 11, ESN 0'],
    ['an implicit IV', 'ENCR 30/256, ESN 0'],
  ])('refuses a proposal with %s', (_, text) => {
    expect(choose(text)).toBeUndefined();
  });

  it('uses key exchange and integrity where our own proposals want them', () => {
    const ours = [proposal('ENCR 20/256, KE 31, KE 0, ESN 0')];
    const first = (text: string) => chooseProposal(ours, offer(ESP, SPI, text), ESP)?.transforms;
    expect(first('ENCR 20/256, KE 0, KE 31, ESN 0')).toEqual(transforms('ENCR 20/256, KE 31, ESN 0'));
    expect(first('ENCR 20/256, ESN 0')).toEqual(transforms('ENCR 20/256, ESN 0'));
    const strict = [proposal('ENCR 20/256, KE 31, ESN 0')];
    expect(chooseProposal(strict, offer(ESP, SPI, 'ENCR 20/256, ESN 0'), ESP)).toBeUndefined();
  });

  it('passes over AH and impossible SPIs', () => {
    const text = 'ENCR 20/256, ESN 0';
    const mixed = [...offer(AH, SPI, 'INTEG 12, ESN 0'), { ...offer(ESP, SPI, text)[0], number: 2 }];
    expect(chooseProposal(defaultChildProposals, mixed, ESP)?.number).toBe(2);
    for (const spi of ['', '000000ff', '00000000', '01020304050607', '0102030405060708']) {
      expect(chooseProposal(defaultChildProposals, offer(ESP, fromHex(spi), text), ESP)).toBeUndefined();
    }
  });
});

describe('verifyAnswer', () => {
  const verify = (answer: ProposalPayload[]) => verifyAnswer(defaultChildProposals, answer, ESP);
  const answered = (text: string, number = 1): ProposalPayload => ({ ...offer(ESP, SPI, text)[0], number });

  it.each([
    ['AEAD', answered('ENCR 20/128, ESN 1')],
    ['AEAD with integrity NONE', answered('ENCR 20/128, INTEG 0, ESN 1')],
    ['key exchange NONE', answered('ENCR 20/128, KE 0, ESN 1')],
    ['the second proposal', answered('ENCR 12/256, INTEG 12, ESN 0', 2)],
  ])('accepts %s', (_, answer) => {
    expect(verify([answer])).toEqual({ number: answer.number, spi: SPI, transforms: answer.transforms });
  });

  it.each([
    ['no proposal', []],
    ['two proposals', [answered('ENCR 20/128, ESN 1'), answered('ENCR 20/128, ESN 1', 2)]],
    ['a number that was not offered', [answered('ENCR 20/128, ESN 1', 3)]],
    ['proposal number 0', [answered('ENCR 20/128, ESN 1', 0)]],
    ['transforms of another proposal', [answered('ENCR 20/128, ESN 1', 2)]],
    ['two transforms of a type', [answered('ENCR 20/128, ENCR 20/256, ESN 1')]],
    ['a missing type', [answered('ENCR 20/128')]],
    ['a type that was not offered', [answered('ENCR 20/128, KE 31, ESN 1')]],
    ['no Key Length', [answered('ENCR 20, ESN 1')]],
    ['another Key Length', [answered('ENCR 20/192, ESN 1')]],
    ['CBC without integrity', [answered('ENCR 12/256, ESN 0', 2)]],
    ['an unknown type', [answered('ENCR 20/128, ESN 1, 13 0')]],
    ['another protocol', offer(AH, SPI, 'ENCR 20/128, ESN 1')],
    ['SPI 0', offer(ESP, new Uint8Array(4), 'ENCR 20/128, ESN 1')],
    ['an SPI of 8 octets', offer(ESP, new Uint8Array(8).fill(1), 'ENCR 20/128, ESN 1')],
  ])('refuses %s', (_, answer) => {
    expect(() => verify(answer)).toThrow(ProtocolError);
  });

  it('accepts every answer that chooseProposal gives', () => {
    for (const [list, protocol, spi] of [
      [defaultIkeProposals, IKE, NO_SPI],
      [defaultChildProposals, ESP, SPI],
    ] as const) {
      for (const ours of [list, [...list].reverse(), list.slice(1)]) {
        const chosen = chooseProposal(ours, encodeProposals(list, protocol, spi), protocol)!;
        expect(verifyAnswer(list, [{ protocol, ...chosen }], protocol)).toEqual(chosen);
      }
    }
  });
});

describe('suites', () => {
  const chosen = (text: string) => ({ number: 1, spi: SPI, transforms: transforms(text) });

  it.each([
    ['ENCR 20/128, ESN 1', { encryption: 20, keyLength: 128, integrity: 0, esn: true }],
    ['ENCR 28, INTEG 0, ESN 0', { encryption: 28, keyLength: 256, integrity: 0, esn: false }],
    ['ENCR 12/256, INTEG 12, ESN 0', { encryption: 12, keyLength: 256, integrity: 12, esn: false }],
  ])('espSuite of %s', (text, suite) => {
    expect(espSuite(chosen(text))).toEqual(suite);
  });

  it('ikeSuite of CBC', () => {
    expect(ikeSuite(chosen('ENCR 12/128, INTEG 12, PRF 7, KE 14'))).toEqual({
      encryption: 12,
      keyLength: 128,
      integrity: 12,
      prf: 7,
      keyExchange: 14,
      additional: [],
    });
  });
});
