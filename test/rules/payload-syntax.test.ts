import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../src/ike/errors.ts';
import { encodePlain, peekHeader } from '../../src/ike/message.ts';
import {
  decodePayloads,
  encodePayloads,
  idPayload,
  notify,
  type Payload,
  PayloadType,
  type ProposalPayload,
  ProtocolId,
} from '../../src/ike/payload/index.ts';
import {
  chooseProposal,
  defaultChildProposals,
  defaultIkeProposals,
  encodeProposals,
  verifyAnswer,
} from '../../src/ike/proposal.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import { WireError } from '../../src/wire/reader.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { accomplice } from '../support/accomplice.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';

const data = Uint8Array.from({ length: 16 }, () => 0xaa);
const GCM = { type: 1, id: 20, keyLength: 256 };
const ESN = { type: 5, id: 0 };
const SPI = fromHex('c0ffee01');

/** One payload of every kind, and where it has reserved bits: [octet of the payload, mask]. */
const RESERVED: readonly [string, Payload, readonly (readonly [number, number])[]][] = [
  [
    'SA',
    {
      kind: 'SA',
      proposals: encodeProposals([{ transforms: [GCM, ESN] }], ProtocolId.ESP, SPI),
    },
    // Of the proposal; of each transform, twice.
    [
      [5, 0xff],
      [17, 0xff],
      [21, 0xff],
      [29, 0xff],
      [33, 0xff],
    ],
  ],
  [
    'KE',
    { kind: 'KE', method: 31, data },
    [
      [6, 0xff],
      [7, 0xff],
    ],
  ],
  ['AUTH', { kind: 'AUTH', method: 13, data }, [5, 6, 7].map((at) => [at, 0xff] as const)],
  ['TSi', { kind: 'TSi', selectors: [anySelector(4)] }, [5, 6, 7].map((at) => [at, 0xff] as const)],
  ['TSr', { kind: 'TSr', selectors: [anySelector(6)] }, [5, 6, 7].map((at) => [at, 0xff] as const)],
  [
    'CP',
    { kind: 'CP', type: 1, attributes: [{ type: 1, value: new Uint8Array(0) }] },
    [
      [5, 0xff],
      [6, 0xff],
      [7, 0xff],
      [8, 0x80],
    ],
  ],
  ['CERT', { kind: 'CERT', encoding: 4, data }, []],
  ['CERTREQ', { kind: 'CERTREQ', encoding: 4, data }, []],
  ['nonce', { kind: 'NONCE', data }, []],
  ['notify', notify(16384), []],
  ['delete', { kind: 'DELETE', protocol: 3, spis: [SPI] }, []],
  ['vendor ID', { kind: 'VENDOR_ID', data }, []],
];

describe('reserved bits', () => {
  it.each(RESERVED)('of %s are sent as zero, and ignored on receipt (rule 44)', (_, payload, ofBody) => {
    const { first, bytes } = encodePayloads([payload]);
    const strange = bytes.slice();
    // Of the generic header: all but the critical bit.
    for (const [at, mask] of [[1, 0x7f] as const, ...ofBody]) {
      expect(bytes[at] & mask, `octet ${at}`).toBe(0);
      strange[at] |= mask;
    }
    expect(strange).not.toEqual(bytes);
    expect(decodePayloads(first, strange)).toEqual([payload]);
  });

  it('of an ID payload are sent as zero, and ignored but by AUTH (rules 28, 44)', () => {
    const { first, bytes } = encodePayloads([idPayload('IDi', { type: 11, data })]);
    expect(bytes.subarray(5, 8)).toEqual(new Uint8Array(3));
    const strange = bytes.slice();
    strange.fill(0xff, 5, 8);
    const [id] = decodePayloads(first, strange);
    expect(id).toEqual({ kind: 'IDi', type: 11, data, body: strange.subarray(4) });
  });

  it('among the flags of the header are sent as zero (rule 44)', () => {
    const { pair } = accomplice(1);
    pair.run(1000);
    pair.call(pair.responder, (ike, now) => ike.close(now));
    pair.run(1000);
    expect(pair.sent.length).toBeGreaterThan(5);
    for (const { message } of pair.sent) expect([message[17], message[19] & 0xd7]).toEqual([0x20, 0]);
  });
});

describe('the critical bit', () => {
  it('is never set on what we know (rule 43)', () => {
    const list = RESERVED.map(([, payload]) => payload);
    const { first, bytes } = encodePayloads(list);
    let count = 0;
    for (let at = 0, type = first; type !== 0; count++) {
      expect(bytes[at + 1], `payload of type ${type}`).toBe(0);
      type = bytes[at];
      at += (bytes[at + 2] << 8) | bytes[at + 3];
    }
    expect(count).toBe(list.length);
  });

  it.each(RESERVED)('set on %s means nothing (rule 43)', (_, payload) => {
    const { first, bytes } = encodePayloads([payload]);
    bytes[1] = 0x80;
    expect(decodePayloads(first, bytes)).toEqual([payload]);
  });
});

describe('proposals', () => {
  it('are numbered from 1, and the marks of the last are 0, of others 2 and 3 (rule 45)', () => {
    const proposals = encodeProposals(
      [{ transforms: [GCM, ESN] }, { transforms: [ESN] }],
      ProtocolId.ESP,
      SPI,
    );
    const { bytes } = encodePayloads([{ kind: 'SA', proposals }]);
    expect(hex(bytes)).toBe(
      [
        '00000038',
        '02000020 01030402 c0ffee01 0300000c01000014800e0100 0000000805000000',
        '00000014 02030401 c0ffee01 0000000805000000',
      ]
        .join('')
        .replaceAll(' ', ''),
    );
  });

  it.each([
    ['begin with 0', '0000000800030000'],
    ['repeat a number', '0200000801030000 0000000801030000'],
    ['count down', '0200000802030000 0000000801030000'],
    ['go on after the last', '0000000801030000 0000000802030000'],
    ['end before the last', '0200000801030000'],
    ['have another mark', '0300000801030000 0000000802030000'],
  ])('are refused if they %s (rule 45)', (_, body) => {
    const decode = (octets: string) => {
      const text = octets.replaceAll(' ', '');
      const length = (text.length / 2 + 4).toString(16).padStart(4, '0');
      return decodePayloads(PayloadType.SA, fromHex(`0000${length}${text}`));
    };
    expect(decode('0200000801030000 0000000803030000')).toHaveLength(1);
    expect(() => decode(body)).toThrow(WireError);
  });

  const offer = (transforms: ProposalPayload['transforms'], number = 1): ProposalPayload => ({
    number,
    protocol: ProtocolId.ESP,
    spi: SPI,
    transforms,
  });
  const choose = (...offered: readonly ProposalPayload[]) =>
    chooseProposal([{ transforms: [GCM, ESN] }], offered, ProtocolId.ESP);

  it('with a transform type that nobody knows are refused, and the next one is taken (rule 50)', () => {
    for (const type of [0, 13, 200, 255]) {
      const strange = offer([GCM, ESN, { type, id: 1 }]);
      expect(choose(strange)).toBeUndefined();
      expect(choose(strange, offer([GCM, ESN], 2))?.number).toBe(2);
    }
  });

  it('with a transform that nobody knows of a known type are taken without it (rule 50)', () => {
    const unknown = [
      { type: 1, id: 999, keyLength: 256 },
      { type: 5, id: 7 },
    ];
    expect(choose(offer([...unknown, GCM, ESN]))?.transforms).toEqual([GCM, ESN]);
    expect(choose(offer(unknown))).toBeUndefined();
  });

  it('have Key Length for ciphers of several key sizes alone, as a TV attribute, and get it back unchanged (rule 46)', () => {
    const lengths = [...defaultIkeProposals, ...defaultChildProposals]
      .flatMap(({ transforms }) => transforms)
      .map(({ type, id, keyLength }) => [type === 1 && id !== 28, keyLength !== undefined]);
    for (const [needsLength, hasLength] of lengths) expect(hasLength).toBe(needsLength);
    const short = { ...GCM, keyLength: 128 };
    const { bytes } = encodePayloads([{ kind: 'SA', proposals: [offer([short, ESN])] }]);
    expect(hex(bytes)).toContain('0300000c01000014800e0080');
    const ours = [{ transforms: [GCM, short, ESN] }];
    expect(chooseProposal(ours, [offer([short, ESN])], ProtocolId.ESP)?.transforms).toEqual([short, ESN]);
    for (const { keyLength: _, ...without } of [GCM, short])
      expect(choose(offer([without, ESN]))).toBeUndefined();
    for (const keyLength of [128, 192, 512, undefined]) {
      const { keyLength: _, ...bare } = GCM;
      const cipher = keyLength === undefined ? bare : { ...bare, keyLength };
      expect(() =>
        verifyAnswer([{ transforms: [GCM, ESN] }], [offer([cipher, ESN])], ProtocolId.ESP),
      ).toThrow(ProtocolError);
    }
  });

  it('of AEAD ciphers have no integrity transform, or NONE, and no other (rule 47)', () => {
    for (const { transforms } of [...defaultIkeProposals, ...defaultChildProposals]) {
      const isAead = transforms.some(({ type, id }) => type === 1 && (id === 20 || id === 28));
      expect(transforms.some(({ type, id }) => type === 3 && id !== 0)).toBe(!isAead);
    }
    const none = { type: 3, id: 0 };
    expect(choose(offer([GCM, ESN]))?.transforms).toEqual([GCM, ESN]);
    expect(choose(offer([GCM, none, ESN]))?.transforms).toEqual([GCM, none, ESN]);
    expect(choose(offer([GCM, { type: 3, id: 12 }, ESN]))).toBeUndefined();
  });

  it('for ESP have ESN, and what is missing of the optional types is NONE (rule 49)', () => {
    for (const { transforms } of defaultChildProposals) {
      expect(transforms.some(({ type }) => type === 5)).toBe(true);
    }
    expect(choose(offer([GCM]))).toBeUndefined();
    const withKe = (...ids: readonly number[]) => [GCM, ...ids.map((id) => ({ type: 4, id })), ESN];
    const answered = (ours: readonly number[], theirs: readonly number[]) =>
      chooseProposal([{ transforms: withKe(...ours) }], [offer(withKe(...theirs))], ProtocolId.ESP)
        ?.transforms;
    expect(answered([31], [])).toBeUndefined();
    expect(answered([31, 0], [])).toEqual(withKe());
    expect(answered([], [31])).toBeUndefined();
    expect(answered([], [31, 0])).toEqual(withKe(0));
  });

  it('for ESP in IKE_AUTH have no key exchange, or NONE (rule 48)', () => {
    // Not though the Child SAs that come later are to have one.
    const childProposals = [{ transforms: [GCM, { type: 4, id: 31 }, ESN] }];
    const { pair, crypto } = accomplice(2, { initiator: { childProposals }, responder: { childProposals } });
    pair.run(1000);
    expectEqualSas(pair);
    const offered = crypto.read(pair.sent[2].message).find((payload) => payload.kind === 'SA')!;
    expect(offered.proposals.length).toBeGreaterThan(0);
    for (const { transforms } of offered.proposals) {
      expect(transforms.filter(({ type, id }) => type === 4 && id !== 0)).toEqual([]);
    }
    expect(choose(offer([GCM, ESN, { type: 4, id: 31 }]))).toBeUndefined();
    expect(choose(offer([GCM, ESN, { type: 4, id: 31 }, { type: 4, id: 0 }]))?.transforms).toEqual([
      GCM,
      { type: 4, id: 0 },
      ESN,
    ]);
  });
});

describe('nonces', () => {
  it.each([
    [15, false],
    [16, true],
    [256, true],
    [257, false],
  ])('of %i octets are taken: %s (rule 53)', (length, isTaken) => {
    const decode = () => {
      const { first, bytes } = encodePayloads([{ kind: 'NONCE', data: new Uint8Array(length) }]);
      return decodePayloads(first, bytes);
    };
    if (isTaken) expect(decode()).toHaveLength(1);
    else expect(decode).toThrow(WireError);
  });

  it.each([
    [5, 16, true],
    [7, 31, false],
    [7, 32, true],
  ])('for PRF %i of %i octets are accepted: %s (rule 53)', (prf, length, isAccepted) => {
    const suite = [GCM, { type: 2, id: prf }, { type: 4, id: 31 }];
    const { pair, crypto } = accomplice(4, { responder: { ikeProposals: [{ transforms: suite }] } });
    pair.network = () => [];
    pair.run(10);
    const payloads = crypto
      .read(pair.sent[0].message)
      .map((payload) => (payload.kind === 'NONCE' ? { ...payload, data: new Uint8Array(length) } : payload));
    pair.deliverToResponder(encodePlain(peekHeader(pair.sent[0].message)!, payloads));
    expect(pair.sent).toHaveLength(isAccepted ? 2 : 1);
    expect(pair.responder.ike.closed).toBe(!isAccepted);
  });

  it('of ours have half the key size of the largest PRF (rule 53)', () => {
    const { pair, crypto } = accomplice(3);
    pair.run(1000);
    for (const { message } of pair.sent.slice(0, 2)) {
      const nonce = crypto.read(message).find((payload) => payload.kind === 'NONCE')!;
      // PRF_HMAC_SHA2_512 has keys of 64 octets.
      expect(nonce.data.length).toBeGreaterThanOrEqual(32);
    }
  });
});

describe('traffic selectors', () => {
  it('have the lengths 16 and 40, all ports and protocol 0 for any (rule 57)', () => {
    const octets = (family: 4 | 6) =>
      hex(encodePayloads([{ kind: 'TSi', selectors: [anySelector(family)] }]).bytes.subarray(8));
    expect(octets(4)).toBe(`070000100000ffff00000000ffffffff`);
    expect(octets(6)).toBe(`080000280000ffff${'00'.repeat(16)}${'ff'.repeat(16)}`);
  });

  it('may be OPAQUE, which is 65535 to 0, and no other empty range (rule 57)', () => {
    const decode = (ports: string) =>
      decodePayloads(PayloadType.TSi, fromHex(`00000018 01000000 07060010 ${ports} 0a000001 0a000001`));
    expect(decode('ffff0000')).toMatchObject([{ selectors: [{ startPort: 65535, endPort: 0 }] }]);
    expect(decode('00500050')).toMatchObject([{ selectors: [{ startPort: 80, endPort: 80 }] }]);
    for (const ports of ['ffff0001', 'fffe0000', '00510050']) expect(() => decode(ports)).toThrow(WireError);
  });
});

describe('lengths', () => {
  it('of payloads include their headers, and add up to that of the message (rule 60)', () => {
    const fields = {
      spiI: data.subarray(0, 8),
      spiR: data.subarray(8),
      exchangeType: 37,
      flags: { initiator: true, response: false },
      messageId: 0,
    };
    const list = RESERVED.map(([, payload]) => payload);
    const message = encodePlain(fields, list);
    let at = 28;
    for (const payload of list) {
      const length = (message[at + 2] << 8) | message[at + 3];
      expect(length).toBe(encodePayloads([payload]).bytes.length);
      at += length;
    }
    expect(at).toBe(message.length);
    expect(new DataView(message.buffer, message.byteOffset).getUint32(24)).toBe(message.length);
  });
});
