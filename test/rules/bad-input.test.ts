import { describe, expect, it } from 'vitest';
import { AddressPool } from '../../src/cp/address-pool.ts';
import type { AddressAssigner } from '../../src/cp/assigner.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { peekHeader } from '../../src/ike/message.ts';
import { notify, type Payload, PayloadType } from '../../src/ike/payload/index.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { concat, fromHex } from '../../src/wire/bytes.ts';
import { accomplice } from '../support/accomplice.ts';
import { anonymousProfile, mirror, pool, sharedKey, TO_RESPONDER } from '../support/ike-configs.ts';
import type { End } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';
import { seededRandom } from '../support/seeded-random.ts';

const IKE_AUTH = 35;
const INFORMATIONAL = 37;
const CRITICAL: Payload = { kind: 'UNKNOWN', type: 200, critical: true, data: new Uint8Array(3) };

/** A payload of a known type with a body that our encoders would not make. */
function raw(type: number, body: string): Payload {
  return { kind: 'UNKNOWN', type, critical: false, data: fromHex(body.replaceAll(' ', '')) };
}

function established(seed: number) {
  const made = accomplice(seed);
  made.pair.run(1000);
  expectEqualSas(made.pair);
  return made;
}

/** The responder waits for IKE_AUTH; `request` is what the initiator has sent it, and the responder has not got. */
function halfOpen(seed: number, assigner: AddressAssigner = pool()) {
  const made = accomplice(seed, {
    responder: { profile: () => ({ ...anonymousProfile(sharedKey('relay')), assigner }) },
  });
  const { pair, crypto } = made;
  pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
  pair.run(100);
  const request = crypto.read(pair.sent.at(-1)!.message);
  /** IKE_AUTH with one payload replaced; what the responder answers. */
  const authenticateWith = (kind: Payload['kind'], payload: Payload) => {
    made.send(
      IKE_AUTH,
      1,
      request.map((own) => (own.kind === kind ? payload : own)),
    );
    pair.run(10);
    return made.lastAnswer();
  };
  return { ...made, request, authenticateWith };
}

describe('selectors', () => {
  const any4 = '0000ffff 00000000 ffffffff';
  it.each([
    ['of length 0', `01000000 0700 0000 ${any4}`],
    ['of length 7', '01000000 0700 0007 0000ff'],
    ['of length 15', '01000000 0700 000f 0000ffff 00000000 ffffff'],
    ['of length 17', `01000000 0700 0011 ${any4} 00`],
    ['of length 40, but of IPv4', `01000000 0700 0028 0000ffff ${'00'.repeat(32)}`],
    ['of length 16, but of IPv6', `01000000 0800 0010 ${any4}`],
    ['counted as 2 where there is 1', `02000000 0700 0010 ${any4}`],
    ['counted as 255 where there is 1', `ff000000 0700 0010 ${any4}`],
    ['counted as 1 where there are 2', `01000000 0700 0010 ${any4} 0700 0010 ${any4}`],
    ['counted as 0', '00000000'],
  ])('%s make IKE_AUTH a syntax error (bad input 7)', (_, body) => {
    for (const [kind, type] of [
      ['TSi', PayloadType.TSi],
      ['TSr', PayloadType.TSr],
    ] as const) {
      const { pair, authenticateWith } = halfOpen(1);
      expect(authenticateWith(kind, raw(type, body))).toEqual(['N(INVALID_SYNTAX)']);
      expect(pair.responder.ending).toMatchObject({ notify: NotifyType.INVALID_SYNTAX });
      expect(pair.responderStore.isEmpty).toBe(true);
    }
  });

  it.each(['00', '09', 'ff'])('of type %s alone are unacceptable (bad input 7)', (type) => {
    const { pair, authenticateWith } = halfOpen(2);
    const answer = authenticateWith('TSi', raw(PayloadType.TSi, `01000000 ${type}00 0010 ${any4}`));
    expect(answer).toEqual(['IDr', 'AUTH', 'N(TS_UNACCEPTABLE)']);
    expect(pair.responder.ike.established).toBe(true);
    expect(pair.responderStore.isEmpty).toBe(true);
  });
});

describe('configuration attributes', () => {
  const request = (attributes: string) => raw(PayloadType.CP, `01000000 ${attributes}`);

  it.each([
    ['an IPv4 address of 3 octets', '0001 0003 0a0000'],
    ['an IPv4 address of 5 octets', '0001 0005 0a00000000'],
    ['an IPv4 address of 16 octets', `0001 0010 ${'00'.repeat(16)}`],
    ['an IPv6 address of 16 octets', `0008 0010 ${'00'.repeat(16)}`],
    ['an IPv6 address of 18 octets', `0008 0012 ${'00'.repeat(18)}`],
    ['nothing', ''],
    ['a DNS server alone', '0003 0000'],
  ])('that ask for %s get no address, and no Child SA (bad input 12)', (_, attributes) => {
    const { pair, authenticateWith } = halfOpen(3);
    expect(authenticateWith('CP', request(attributes))).toEqual([
      'IDr',
      'AUTH',
      'N(INTERNAL_ADDRESS_FAILURE)',
    ]);
    expect(pair.responder.eventTypes).toEqual(['established', 'child-failed']);
    expect(pair.responderStore.isEmpty).toBe(true);
  });

  it.each([
    ['is longer than the payload', '0001 0005 0a000000'],
    ['is cut', '0001 00'],
  ])('of which one %s are a syntax error (bad input 12)', (_, attributes) => {
    const { pair, authenticateWith } = halfOpen(4);
    expect(authenticateWith('CP', request(attributes))).toEqual(['N(INVALID_SYNTAX)']);
    expect(pair.responder.ike.closed).toBe(true);
  });

  it('that ask for 10,000 addresses get one (rule 58) (bad input 12)', () => {
    const leases: object[] = [];
    const inner = pool();
    const { authenticateWith, crypto, pair } = halfOpen(5, {
      assign: (owner, asked) => {
        const lease = inner.assign(owner, asked);
        if (lease !== undefined) leases.push(lease);
        return lease;
      },
      release: (owner) => inner.release(owner),
    });
    expect(authenticateWith('CP', request('0001 0000'.repeat(10_000)))).toContain('CP');
    expect(leases).toHaveLength(1);
    const reply = crypto.read(pair.sent.at(-1)!.message).find((payload) => payload.kind === 'CP')!;
    expect(reply.type).toBe(2);
    expect(reply.attributes.map(({ type, value }) => [type, value.length])).toEqual([[1, 4]]);
  });

  it('are not answered where they were not asked for (rule 58)', () => {
    const { assigner: _, ...profile } = anonymousProfile(sharedKey('relay'));
    for (const addresses of [undefined, { ip4: true, ip6: false, ip4Dns: true, ip6Dns: false }]) {
      const { pair, crypto } = accomplice(6, {
        initiator: {
          child: {
            tsI: profile.tsLocal,
            tsR: profile.tsLocal,
            ...(addresses !== undefined && { addresses }),
          },
        },
        responder: { profile: () => ({ ...profile, tsRemote: profile.tsLocal }) },
      });
      pair.run(1000);
      expect(crypto.read(pair.sent[3].message).map(({ kind }) => kind)).not.toContain('CP');
      expectEqualSas(pair);
    }
  });

  it('that are missing where a policy wants them fail the Child SA alone (rule 58)', () => {
    const { pair, send, request: own, lastAnswer } = halfOpen(7);
    send(
      IKE_AUTH,
      1,
      own.filter(({ kind }) => kind !== 'CP'),
    );
    expect(lastAnswer()).toEqual(['IDr', 'AUTH', 'N(FAILED_CP_REQUIRED)']);
    expect(pair.responder.ike.established).toBe(true);
  });
});

describe('an unknown critical payload', () => {
  it('in IKE_AUTH is refused with its type, and the IKE SA ends (rules 35, 43) (bad input 14)', () => {
    const { pair, send, request, crypto } = halfOpen(8);
    send(IKE_AUTH, 1, [...request, CRITICAL]);
    const refusal = notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, Uint8Array.of(200));
    expect(crypto.read(pair.sent.at(-1)!.message)).toEqual([refusal]);
    expect(pair.responder.eventTypes).toEqual(['closed']);
    expect(pair.responderStore.log).toEqual([]);
  });

  it.each([36, INFORMATIONAL])(
    'in exchange %i costs the request alone (rule 43) (bad input 14)',
    (exchangeType) => {
      const { pair, send, ask, crypto } = established(9);
      const refusal = notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, Uint8Array.of(200));
      send(exchangeType, 2, [CRITICAL]);
      expect(crypto.read(pair.sent.at(-1)!.message)).toEqual([refusal]);
      ask(exchangeType, 0, [CRITICAL]);
      expect(crypto.read(pair.sent.at(-1)!.message)).toEqual([refusal]);
      expectEqualSas(pair);
    },
  );

  it('in a response is dropped with it, in every exchange (rule 43) (bad input 14)', () => {
    const { pair, answer, crypto, request } = halfOpen(10);
    pair.deliverToResponder(pair.sent.at(-1)!.message);
    pair.run(10);
    expect(request).not.toEqual([]);
    const response = crypto.read(pair.sent.at(-1)!.message);
    answer(IKE_AUTH, 1, [...response, CRITICAL]);
    expect(pair.initiator.events).toEqual([]);
    answer(IKE_AUTH, 1, response);
    pair.run(10);
    expectEqualSas(pair);
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    const before = pair.sent.length;
    answer(INFORMATIONAL, 2, [CRITICAL]);
    expect(pair.sent).toHaveLength(before);
    expect(pair.initiator.ike.exchanges).toBe(2);
    answer(INFORMATIONAL, 2, []);
    expect(pair.initiator.ike.exchanges).toBe(3);
  });
});

describe('a notify', () => {
  it.each(['0305 4009 00000000', '01ff 400e', '0304'])(
    'whose SPI does not fit is a syntax error (bad input 14): %s',
    (body) => {
      const { pair, send, lastAnswer } = established(11);
      send(INFORMATIONAL, 2, [raw(PayloadType.NOTIFY, body)]);
      expect(lastAnswer()).toEqual(['N(INVALID_SYNTAX)']);
      expect(pair.responder.ending).toMatchObject({ notify: NotifyType.INVALID_SYNTAX });
      const early = halfOpen(12);
      early.send(IKE_AUTH, 1, [...early.request, raw(PayloadType.NOTIFY, body)]);
      expect(early.lastAnswer()).toEqual(['N(INVALID_SYNTAX)']);
    },
  );
});

describe('Delete', () => {
  it('of as many SPIs as a message holds changes nothing that it does not name (bad input 15)', () => {
    const { pair, send, crypto } = established(13);
    const spis = Array.from({ length: 16_000 }, (_, i) => Uint8Array.of(9, 9, i >> 8, i & 255));
    send(INFORMATIONAL, 2, [{ kind: 'DELETE', protocol: 3, spis }]);
    expect(crypto.read(pair.sent.at(-1)!.message)).toEqual([]);
    expectEqualSas(pair);
  });

  it('of one SPI, 16,000 times, is answered with one (bad input 15)', () => {
    const { pair, send, crypto } = established(14);
    const { spiIn, spiOut } = pair.initiator.event('child-established').child;
    const octets = (spi: number) => Uint8Array.of(spi >>> 24, spi >>> 16, spi >>> 8, spi);
    send(INFORMATIONAL, 2, [
      { kind: 'DELETE', protocol: 3, spis: Array<Uint8Array>(16_000).fill(octets(spiIn)) },
    ]);
    expect(crypto.read(pair.sent.at(-1)!.message)).toEqual([
      { kind: 'DELETE', protocol: 3, spis: [octets(spiOut)] },
    ]);
  });

  it.each([
    ['that counts 65,535 SPIs and has one', '0304 ffff 00000001'],
    ['with SPIs of 1 octet', '0301 0001 01'],
    ['with SPIs of 8 octets', '0308 0001 0000000000000001'],
    ['of protocol 0', '0004 0001 00000001'],
    ['of protocol 0 without SPIs', '0000 0000'],
    ['of the IKE SA with an SPI', '0108 0001 0000000000000001'],
  ])('%s is a syntax error (bad input 15)', (_, body) => {
    const { pair, send, lastAnswer } = established(15);
    send(INFORMATIONAL, 2, [raw(PayloadType.DELETE, body)]);
    expect(lastAnswer()).toEqual(['N(INVALID_SYNTAX)']);
    expect(pair.responder.ending).toMatchObject({ notify: NotifyType.INVALID_SYNTAX });
  });
});

describe('an SK payload', () => {
  const suites = [
    ['AES-GCM', [{ type: 1, id: 20, keyLength: 256 }]],
    ['ChaCha20-Poly1305', [{ type: 1, id: 28 }]],
    [
      'AES-CBC with HMAC',
      [
        { type: 1, id: 12, keyLength: 256 },
        { type: 3, id: 12 },
      ],
    ],
  ] as const;

  /** A request of the initiator's whose SK payload has these octets behind its generic header. */
  function request(end: End, spis: Uint8Array, octets: Uint8Array): void {
    const length = 32 + octets.length;
    const header = concat(spis, fromHex('2e202508 00000002 00000000'), Uint8Array.of(0, 0, 0, 0));
    const message = concat(header, octets);
    const view = new DataView(message.buffer);
    view.setUint32(24, length);
    view.setUint16(30, length - 28);
    const before = [end.events.length, end.store.log.length, end.ike.nextTimeout];
    end.ike.handleDatagram(message, mirror(TO_RESPONDER), 5000);
    expect(end.ike.poll()).toBeUndefined();
    expect([end.events.length, end.store.log.length, end.ike.nextTimeout]).toEqual(before);
    expect(end.ike.established).toBe(true);
  }

  it.each(suites)('of %s without room for its parts is dropped silently (bad input 18)', (_, cipher) => {
    const more = [
      { type: 2, id: 5 },
      { type: 4, id: 31 },
    ];
    const { pair } = accomplice(16, { responder: { ikeProposals: [{ transforms: [...cipher, ...more] }] } });
    pair.run(1000);
    expectEqualSas(pair);
    const spis = pair.sent.at(-1)!.message.subarray(0, 16);
    // Empty; part of an IV; an IV; an IV and part of an ICV; both and no text; a text of less than a block.
    for (let length = 0; length < 64; length++) request(pair.responder, spis, new Uint8Array(length).fill(7));
  });

  it.each(suites)(
    'of %s whose padding is longer than its text is dropped silently (bad input 18)',
    (_, cipher) => {
      const more = [
        { type: 2, id: 5 },
        { type: 4, id: 31 },
      ];
      const { pair, protectors } = accomplice(17, {
        responder: { ikeProposals: [{ transforms: [...cipher, ...more] }] },
      });
      pair.run(1000);
      const spis = pair.sent.at(-1)!.message.subarray(0, 16);
      const [protector] = protectors;
      const seal = (text: Uint8Array) => {
        const iv = new Uint8Array(protector.ivLength).fill(5);
        const icv = new Uint8Array(protector.icvLength);
        const length = 32 + iv.length + text.length + icv.length;
        const aad = concat(spis, fromHex('2e202508 00000002 00000000 00000000'), iv);
        const view = new DataView(aad.buffer);
        view.setUint32(24, length);
        view.setUint16(30, length - 28);
        protector.seal(aad.subarray(0, 32), iv, text, icv);
        return concat(iv, text, icv);
      };
      for (const pad of [16, 17, 200, 255]) request(pair.responder, spis, seal(new Uint8Array(16).fill(pad)));
      // With one octet less, it is an empty request.
      const message = concat(
        spis,
        fromHex('2e202508 00000002 00000000 00000000'),
        seal(new Uint8Array(16).fill(15)),
      );
      new DataView(message.buffer).setUint32(24, message.length);
      new DataView(message.buffer).setUint16(30, message.length - 28);
      pair.responder.ike.handleDatagram(message, mirror(TO_RESPONDER), 5000);
      const output = pair.responder.ike.poll();
      expect(output?.kind === 'transmit' && peekHeader(output.message)).toMatchObject({ messageId: 2 });
    },
  );
});

describe('a pool', () => {
  it.each([
    ['10.0.0.9/32', 1],
    ['10.0.0.8/31', 2],
  ])('%s of %i is used up, refuses, and gives no address twice (bad input 20)', (prefix, size) => {
    const assigner = new AddressPool({ ip4: parsePrefix(prefix), random: seededRandom(3) });
    const connect = (seed: number) => {
      const { pair } = accomplice(seed, {
        responder: { profile: () => ({ ...anonymousProfile(sharedKey('relay')), assigner }) },
      });
      return pair.run(1000);
    };
    const addressOf = (pair: ReturnType<typeof connect>) =>
      pair.initiator.event('child-established').child.assigned?.ip4;
    const holders = Array.from({ length: size }, (_, i) => connect(20 + i));
    expect(new Set(holders.map(addressOf)).size).toBe(size);
    const refused = connect(40);
    expect(refused.initiator.event('child-failed').error).toMatchObject({
      notify: NotifyType.INTERNAL_ADDRESS_FAILURE,
    });
    expect(refused.initiator.ike.established).toBe(true);
    // Both the failed Child SA and the end of its IKE SA give back what it has not.
    refused.call(refused.initiator, (ike, now) => ike.close(now));
    refused.run(1000);
    expectNothingLeft(refused);
    expect(connect(41).initiator.eventTypes).toContain('child-failed');
    const [first] = holders;
    first.call(first.initiator, (ike, now) => ike.close(now));
    first.run(1000);
    expect(addressOf(connect(42))).toBe(addressOf(first));
    expect(connect(43).initiator.eventTypes).toContain('child-failed');
  });
});
