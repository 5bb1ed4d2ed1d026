import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../../src/crypto/node.ts';
import { NotifyType } from '../../../src/ike/constants.ts';
import { CookieJar } from '../../../src/ike/cookie.ts';
import { decodePlain, encodePlain, peekHeader } from '../../../src/ike/message.ts';
import { notify, type Payload } from '../../../src/ike/payload/index.ts';
import { findNotify } from '../../../src/ike/payloads.ts';
import { defaultIkeProposals, encodeProposals } from '../../../src/ike/proposal.ts';
import { decodePuzzle, type Puzzle, PuzzleSolver } from '../../../src/ike/puzzle.ts';
import { type Admission, ResponderGate } from '../../../src/ike/responder-gate.ts';
import { mirror, TO_RESPONDER } from '../../support/ike-configs.ts';
import { seededRandom, seededUniform } from '../../support/seeded-random.ts';

const crypto = nodeProvider(seededRandom(3));
const FROM = mirror(TO_RESPONDER);
const SPI = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const NONE = new Uint8Array(8);
const NO_SPI = new Uint8Array(0);
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

describe('a gate that demands puzzles (RFC 8019 7.1)', () => {
  const make = (difficulty = 8) =>
    new ResponderGate({
      crypto,
      cookieThreshold: 10,
      puzzles: { threshold: 50, maximum: 100, difficulty },
    });
  const demanded = (admission: Admission) => {
    if (admission.kind !== 'demand-cookie') throw new Error(admission.kind);
    const decoded = decodePlain(admission.message);
    if (decoded.kind !== 'ok') throw new Error(decoded.kind);
    const puzzle = findNotify(decoded.payloads, NotifyType.PUZZLE);
    return {
      cookie: findNotify(decoded.payloads, NotifyType.COOKIE)!.data,
      puzzle: puzzle && decodePuzzle(puzzle.data),
    };
  };
  const solution = (puzzle: Puzzle, octets: Uint8Array): Payload => {
    const solver = new PuzzleSolver(crypto, puzzle, octets);
    for (;;) {
      const data = solver.work(1000);
      if (data !== undefined) return { kind: 'PS', data };
    }
  };
  const returned = (cookie: Uint8Array, ...more: Payload[]) =>
    message(init(notify(NotifyType.COOKIE, cookie), ...more));

  it('makes them harder the more IKE SAs are half-open, and the more of its part a source has', () => {
    const bits = (halfOpen: number, share = 0) =>
      demanded(make().admit(message(init()), FROM, busy(halfOpen, share), 0)).puzzle?.difficulty;
    expect([49, 50, 62, 63, 75, 99, 100, 200].map((n) => bits(n))).toEqual([
      undefined,
      8,
      8,
      9,
      10,
      11,
      12,
      12,
    ]);
    expect([0.6, 0.75, 0.76, 0.9, 1].map((share) => bits(0, share))).toEqual([
      undefined,
      undefined,
      8,
      10,
      12,
    ]);
  });

  it('accepts a solution once, however much load there is by then', () => {
    const gate = make();
    const { cookie, puzzle } = demanded(gate.admit(message(init()), FROM, busy(60), 0));
    const request = returned(cookie, solution(puzzle!, cookie));
    const first = gate.admit(request, FROM, busy(100), 1000);
    expect(first).toEqual({ kind: 'accept', solved: cookie });
    gate.reward(cookie, 1000);
    expect(demanded(gate.admit(request, FROM, busy(100), 2000)).puzzle).toBeDefined();
    expect(demanded(gate.admit(request, FROM, busy(100), 61_000)).puzzle).toBeDefined();
  });

  it('demands another when the solution is of another cookie, too easy, or left out', () => {
    const gate = make();
    const { cookie, puzzle } = demanded(gate.admit(message(init()), FROM, busy(100), 0));
    const other = solution(puzzle!, cookie.with(9, 0));
    const easy = solution({ ...puzzle!, difficulty: 8 }, cookie);
    for (const request of [returned(cookie, other), returned(cookie, easy), returned(cookie)])
      expect(demanded(gate.admit(request, FROM, busy(100), 0)).puzzle).toEqual(puzzle);
  });

  it('does not believe a cookie whose puzzle was made easier', () => {
    const gate = make();
    const { cookie, puzzle } = demanded(gate.admit(message(init()), FROM, busy(100), 0));
    const forged = cookie.with(3, 8);
    const request = returned(forged, solution({ ...puzzle!, difficulty: 8 }, forged));
    expect(gate.admit(request, FROM, busy(100), 0).kind).toBe('demand-cookie');
  });

  it('accepts, of those who only return the cookie, one in four at the threshold and nobody at the maximum', () => {
    const gate = make();
    const { cookie } = demanded(gate.admit(message(init()), FROM, busy(50), 0));
    const served = (halfOpen: number) =>
      Array.from({ length: 400 }, () => gate.admit(returned(cookie), FROM, busy(halfOpen), 0)).filter(
        ({ kind }) => kind === 'accept',
      ).length;
    expect(served(50)).toBeGreaterThan(60);
    expect(served(50)).toBeLessThan(140);
    expect(served(100)).toBe(0);
  });

  it('has those who may choose solve what the load asks for', () => {
    const gate = make(0);
    const { cookie, puzzle } = demanded(gate.admit(message(init()), FROM, busy(60), 0));
    expect(puzzle?.difficulty).toBe(0);
    const enough = returned(cookie, solution({ prf: 5, difficulty: 12 }, cookie));
    expect(gate.admit(enough, FROM, busy(100), 0).kind).toBe('accept');
    const few = solution({ prf: 5, difficulty: 8 }, cookie);
    expect(gate.admit(returned(cookie, few), FROM, busy(100), 0).kind).toBe('demand-cookie');
  });

  it('never demands one without a cookie, and none of an initiator with no PRF for it', () => {
    const own = message(init()).slice();
    expect(demanded(make().admit(own, FROM, busy(20), 0)).puzzle).toBeUndefined();
    const unknown = init().map(
      (payload): Payload =>
        payload.kind === 'SA'
          ? {
              kind: 'SA',
              proposals: [{ number: 1, protocol: 1, spi: NO_SPI, transforms: [{ type: 2, id: 2 }] }],
            }
          : payload,
    );
    expect(demanded(make().admit(message(unknown), FROM, busy(100), 0)).puzzle).toBeUndefined();
  });
});

describe('cookies', () => {
  it('live for one to two lifetimes of their secret', () => {
    const jar = new CookieJar(crypto);
    const claim = { nonce: NONCE, spiI: SPI, origin: FROM };
    const first = jar.make(claim, undefined, 0);
    expect(jar.check(first, claim, 59_999)).toEqual({ puzzle: undefined });
    const second = jar.make(claim, undefined, 60_000);
    expect(second).not.toEqual(first);
    expect(jar.check(first, claim, 60_000)).toEqual({ puzzle: undefined });
    expect(jar.check(first, claim, 119_999)).toEqual({ puzzle: undefined });
    expect(jar.check(first, claim, 120_000)).toBeUndefined();
    expect(jar.check(second, claim, 120_000)).toEqual({ puzzle: undefined });
    expect(jar.check(second, claim, 1_000_000)).toBeUndefined();
  });

  it('are not known to another responder', () => {
    const claim = { nonce: NONCE, spiI: SPI, origin: FROM };
    expect(
      new CookieJar(crypto).check(new CookieJar(crypto).make(claim, undefined, 0), claim, 0),
    ).toBeUndefined();
  });

  it('are not looked at below the threshold', () => {
    const octets = message(init(notify(NotifyType.COOKIE, Uint8Array.of(1))));
    expect(findNotify(init(), NotifyType.COOKIE)).toBeUndefined();
    expect(open().admit(octets, FROM, busy(0), 0)).toEqual({ kind: 'accept' });
  });
});
