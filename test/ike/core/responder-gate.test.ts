import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../../src/crypto/node.ts';
import { NotifyType } from '../../../src/ike/constants.ts';
import { CookieJar } from '../../../src/ike/cookie.ts';
import { decodePlain, encodePlain, peekHeader } from '../../../src/ike/message.ts';
import { notify, type Payload } from '../../../src/ike/payload/index.ts';
import { findNotify } from '../../../src/ike/payloads.ts';
import { defaultIkeProposals, encodeProposals } from '../../../src/ike/proposal.ts';
import { type Admission, ResponderGate } from '../../../src/ike/responder-gate.ts';
import { mirror, TO_RESPONDER } from '../../support/ike-configs.ts';
import { seededRandom, seededUniform } from '../../support/seeded-random.ts';

const crypto = nodeProvider(seededRandom(3));
const FROM = mirror(TO_RESPONDER);
const SPI = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const NONE = new Uint8Array(8);
const NONCE = crypto.random(32);

const init = (...before: Payload[]): Payload[] => [
  ...before,
  { kind: 'SA', proposals: encodeProposals(defaultIkeProposals, 1, new Uint8Array(0)) },
  { kind: 'KE', method: 31, data: crypto.random(32) },
  { kind: 'NONCE', data: NONCE },
];

function message(
  payloads: readonly Payload[],
  fields: Partial<Parameters<typeof encodePlain>[0]> = {},
): Uint8Array {
  const flags = { initiator: true, response: false };
  return encodePlain({ spiI: SPI, spiR: NONE, exchangeType: 34, messageId: 0, flags, ...fields }, payloads);
}

function answered(admission: Admission): {
  readonly notify: number;
  readonly data: Uint8Array;
  readonly message: Uint8Array;
} {
  if (admission.kind === 'accept' || admission.kind === 'drop') {
    throw new Error(`${admission.kind}, not an answer`);
  }
  const decoded = decodePlain(admission.message);
  if (decoded.kind !== 'ok') throw new Error(decoded.kind);
  const [payload, ...rest] = decoded.payloads;
  if (payload.kind !== 'NOTIFY' || rest.length > 0) throw new Error('not one notify');
  return { notify: payload.type, data: payload.data, message: admission.message };
}

const busy = (halfOpen: number, share = 0) => ({ halfOpen, share });
const open = () => new ResponderGate({ crypto, cookieThreshold: 10 });

describe('the gate', () => {
  it('accepts IKE_SA_INIT requests while few IKE SAs are half-open', () => {
    expect(open().admit(message(init()), FROM, busy(9), 0)).toEqual({ kind: 'accept' });
  });

  it('demands a cookie from the threshold on, and accepts it back', () => {
    const gate = open();
    const demand = answered(gate.admit(message(init()), FROM, busy(10), 0));
    expect(demand.notify).toBe(NotifyType.COOKIE);
    expect(demand.data.length).toBeLessThanOrEqual(64);
    expect(peekHeader(demand.message)).toMatchObject({
      spiI: SPI,
      spiR: NONE,
      messageId: 0,
      exchangeType: 34,
    });
    expect(peekHeader(demand.message)!.flags).toEqual({ initiator: false, response: true });
    const again = message(init(notify(NotifyType.COOKIE, demand.data)));
    expect(gate.admit(again, FROM, busy(10), 1000)).toEqual({ kind: 'accept' });
    expect(gate.admit(again, FROM, busy(10_000), 59_999)).toEqual({ kind: 'accept' });
  });

  it('demands a cookie of a source that has more than half of its part', () => {
    expect(open().admit(message(init()), FROM, busy(1, 0.5), 0)).toEqual({ kind: 'accept' });
    expect(answered(open().admit(message(init()), FROM, busy(1, 0.51), 0)).notify).toBe(NotifyType.COOKIE);
  });

  it('binds a cookie to the origin, the SPI and the nonce, and treats a wrong one as none (rule 12)', () => {
    const gate = open();
    const { data } = answered(gate.admit(message(init()), FROM, busy(10), 0));
    const cookie = notify(NotifyType.COOKIE, data);
    const others = [
      [message(init(cookie)), { ...FROM, address: '198.51.100.9' }],
      [message(init(cookie)), { ...FROM, port: 501 }],
      [message(init(cookie)), { ...FROM, linkId: 'other' }],
      [message(init(cookie)), { ...FROM, overlayPeer: 'B' }],
      [message(init(cookie), { spiI: SPI.with(0, 9) }), FROM],
      [message([...init(cookie).slice(0, 3), { kind: 'NONCE', data: NONCE.with(0, NONCE[0] ^ 1) }]), FROM],
      [message(init(notify(NotifyType.COOKIE, data.with(5, data[5] ^ 1)))), FROM],
      [message(init(notify(NotifyType.COOKIE, data.with(0, data[0] ^ 1)))), FROM],
      [message(init(notify(NotifyType.COOKIE, new Uint8Array(0)))), FROM],
    ] as const;
    for (const [octets, origin] of others) {
      expect(answered(gate.admit(octets, origin, busy(10), 0)).notify).toBe(NotifyType.COOKIE);
    }
  });

  it('answers requests of unknown IKE SAs with INVALID_IKE_SPI, never responses', () => {
    const spiR = SPI.toReversed();
    const fields = { spiR, exchangeType: 37, messageId: 5 };
    const answer = answered(open().admit(message([], fields), FROM, busy(0), 0));
    expect(answer.notify).toBe(NotifyType.INVALID_IKE_SPI);
    expect(answer.data).toHaveLength(0);
    expect(peekHeader(answer.message)).toMatchObject({ spiI: SPI, spiR, messageId: 5, exchangeType: 37 });
    expect(open().admit(answer.message, FROM, busy(0), 0).kind).toBe('drop');
    expect(
      open().admit(message(init(), { flags: { initiator: false, response: true } }), FROM, busy(0), 0).kind,
    ).toBe('drop');
  });

  it('answers a higher major version with its own, and drops a lower one (rule 21) (bad input 17)', () => {
    const higher = message(init()).with(17, 0x30);
    const answer = answered(open().admit(higher, FROM, busy(0), 0));
    expect(answer.notify).toBe(NotifyType.INVALID_MAJOR_VERSION);
    expect(answer.message[17]).toBe(0x20);
    expect(open().admit(message(init()).with(17, 0x10), FROM, busy(0), 0).kind).toBe('drop');
    // Minor versions and unassigned flags do not matter.
    expect(open().admit(message(init()).with(17, 0x2f), FROM, busy(0), 0).kind).toBe('accept');
    expect(open().admit(message(init()).with(19, 0xdf), FROM, busy(0), 0).kind).toBe('accept');
  });

  it('answers an unknown critical payload', () => {
    const payload = { kind: 'UNKNOWN', type: 200, critical: true, data: new Uint8Array(2) } as const;
    const answer = answered(open().admit(message([...init(), payload]), FROM, busy(0), 0));
    expect(answer.notify).toBe(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD);
    expect(answer.data).toEqual(Uint8Array.of(200));
    expect(open().admit(message([...init(), { ...payload, critical: false }]), FROM, busy(0), 0).kind).toBe(
      'accept',
    );
  });

  it('drops what is not a first request (bad input 17)', () => {
    const whole = message(init());
    const wrong: Uint8Array[] = [
      new Uint8Array(0),
      whole.subarray(0, 27),
      whole.subarray(0, whole.length - 1),
      new Uint8Array([...whole, 0]),
      message(init(), { spiI: NONE }),
      message(init(), { spiR: SPI }),
      message(init(), { messageId: 1 }),
      message(init(), { flags: { initiator: false, response: false } }),
      message(init(), { exchangeType: 35 }),
      message([]),
      message([...init(), { kind: 'VENDOR_ID', data: new Uint8Array(4000) }]),
      message(init().slice(1)),
      message(init().slice(0, 2)),
      message([...init(), ...init()]),
      message([...init().slice(0, 2), { kind: 'NONCE', data: new Uint8Array(15) }]),
    ];
    for (const octets of wrong) expect(open().admit(octets, FROM, busy(0), 0).kind).toBe('drop');
  });

  it('never throws for anything, and accepts nothing that was tampered with beyond recognition', () => {
    const gate = open();
    const uniform = seededUniform(8);
    const random = seededRandom(9);
    for (let i = 0; i < 3000; i++) {
      const octets = i % 2 ? random(Math.floor(uniform() * 300)) : message(init());
      for (let j = 0; j < 3 && octets.length > 0; j++) {
        octets[Math.floor(uniform() * octets.length)] = Math.floor(uniform() * 256);
      }
      expect(['accept', 'demand-cookie', 'answer', 'drop']).toContain(
        gate.admit(octets, FROM, busy(i % 20), i).kind,
      );
    }
  });
});

describe('cookies', () => {
  it('live for one to two lifetimes of their secret', () => {
    const jar = new CookieJar(crypto);
    const claim = { nonce: NONCE, spiI: SPI, origin: FROM };
    const first = jar.make(claim, 0);
    expect(jar.check(first, claim, 59_999)).toBe(true);
    const second = jar.make(claim, 60_000);
    expect(second).not.toEqual(first);
    expect(jar.check(first, claim, 60_000)).toBe(true);
    expect(jar.check(first, claim, 119_999)).toBe(true);
    expect(jar.check(first, claim, 120_000)).toBe(false);
    expect(jar.check(second, claim, 120_000)).toBe(true);
    expect(jar.check(second, claim, 1_000_000)).toBe(false);
  });

  it('are not known to another responder', () => {
    const claim = { nonce: NONCE, spiI: SPI, origin: FROM };
    expect(new CookieJar(crypto).check(new CookieJar(crypto).make(claim, 0), claim, 0)).toBe(false);
  });

  it('are not looked at below the threshold', () => {
    const octets = message(init(notify(NotifyType.COOKIE, Uint8Array.of(1))));
    expect(findNotify(init(), NotifyType.COOKIE)).toBeUndefined();
    expect(open().admit(octets, FROM, busy(0), 0)).toEqual({ kind: 'accept' });
  });
});
