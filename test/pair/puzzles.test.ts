import { describe, expect, it } from 'vitest';
import { NotifyType } from '../../src/ike/constants.ts';
import { LocalError } from '../../src/ike/errors.ts';
import { encodePlain, peekHeader } from '../../src/ike/message.ts';
import { notify, type Payload, PayloadType } from '../../src/ike/payload/index.ts';
import { findNotify, findPayload } from '../../src/ike/payloads.ts';
import { encodePuzzle, solvedBits } from '../../src/ike/puzzle.ts';
import type { PuzzlePolicy } from '../../src/ike/responder-gate.ts';
import { concat } from '../../src/wire/bytes.ts';
import {
  anonymousProfile,
  initiatorConfig,
  mirror,
  responderConfig,
  signature,
  TO_RESPONDER,
} from '../support/ike-configs.ts';
import { names, Pair, type PairOptions, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';

const crypto = testCrypto(77);
const { provider } = crypto;
const relay = signature(provider);
const EASY: PuzzlePolicy = { threshold: 0, maximum: 1_000, difficulty: 8 };

interface More extends Partial<PairOptions> {
  readonly puzzles?: PuzzlePolicy;
  readonly maxPuzzleDifficulty?: number;
  readonly authPuzzleDifficulty?: number;
  readonly fragmentation?: boolean;
  readonly pathMtu?: number;
}

function make({ maxPuzzleDifficulty, authPuzzleDifficulty, fragmentation, pathMtu, ...more }: More): Pair {
  const initiator = { ...initiatorConfig(provider, relay), fragmentation, pathMtu };
  const responder = responderConfig(provider, anonymousProfile(relay));
  return new Pair({
    initiator: maxPuzzleDifficulty === undefined ? initiator : { ...initiator, maxPuzzleDifficulty },
    responder: authPuzzleDifficulty === undefined ? responder : { ...responder, authPuzzleDifficulty },
    cookieThreshold: 0,
    ...more,
  });
}

const messages = (pair: Pair, exchange: number) =>
  pair.sent.filter(({ message }) => message[18] === exchange).map(({ message }) => message);

describe('a puzzle in IKE_SA_INIT (RFC 8019 7.1)', () => {
  it('comes with a cookie, and its solution goes back between the cookie and what was sent before', () => {
    const pair = make({ puzzles: EASY }).run(5000);
    const [first, demand, second] = messages(pair, 34).map((message) => crypto.read(message));
    expect(names(demand)).toEqual(['N(COOKIE)', 'N(PUZZLE)']);
    expect(names(second)).toEqual(['N(COOKIE)', 'PS', ...names(first)]);
    expect(second.slice(2)).toEqual(first);
    const { data: cookie } = findNotify(demand, NotifyType.COOKIE)!;
    expect(solvedBits(provider, 5, cookie, findPayload(second, 'PS')!.data)).toBeGreaterThanOrEqual(8);
    expectEqualSas(pair);
  });

  it('is solved at the bits that everybody chooses where the responder leaves it to the initiator', () => {
    const pair = make({ puzzles: { ...EASY, difficulty: 0 } }).run(60_000);
    const [, demand, second] = messages(pair, 34).map((message) => crypto.read(message));
    expect(findNotify(demand, NotifyType.PUZZLE)!.data).toEqual(encodePuzzle({ prf: 5, difficulty: 0 }));
    const { data: cookie } = findNotify(demand, NotifyType.COOKIE)!;
    expect(solvedBits(provider, 5, cookie, findPayload(second, 'PS')!.data)).toBeGreaterThanOrEqual(14);
    expectEqualSas(pair);
  });

  it('is solved a slice at a time', () => {
    const pair = make({ puzzles: { ...EASY, difficulty: 12 } });
    let slices = 0;
    const { initiator } = pair;
    const { handleTimeout } = initiator.ike;
    initiator.ike.handleTimeout = (now) => {
      slices++;
      handleTimeout.call(initiator.ike, now);
    };
    pair.run(5000);
    expect(slices).toBeGreaterThan(20);
    expectEqualSas(pair);
  });

  it('is passed over if it is too hard: the cookie alone may be served', () => {
    // One in four, at most, is (RFC 8019 7.1): a later retransmission is another chance.
    const served = Array.from({ length: 12 }, () =>
      make({ puzzles: { ...EASY, difficulty: 30 } }).run(1000),
    ).filter(({ responders }) => responders.length > 0);
    expect(served.length).toBeGreaterThan(0);
    for (const pair of served) {
      const [first, , second] = messages(pair, 34).map((message) => crypto.read(message));
      expect(names(second)).toEqual(['N(COOKIE)', ...names(first)]);
      expectEqualSas(pair.run(5000));
    }
  });

  it('that is too hard fails the IKE SA with a clear error where nobody is served without', () => {
    const puzzles = { threshold: 0, maximum: 0, difficulty: 20 };
    const pair = make({ puzzles, maxPuzzleDifficulty: 19 });
    pair.run();
    const { error } = pair.initiator.event('closed');
    expect(error).toBeInstanceOf(LocalError);
    expect(error?.message).toMatch(/a puzzle of 24 bits, where at most 19 are solved .*maxPuzzleDifficulty/);
    expectNothingLeft(pair);
  });

  it('that nobody can verify is not waited for: a genuine answer ends the work', () => {
    const pair = make({ cookieThreshold: 1_000 });
    const hardest = [notify(NotifyType.COOKIE, Uint8Array.of(1)), puzzleNotify(18)];
    forge(pair, ...hardest);
    pair.run(5000);
    expect(messages(pair, 34).length).toBeLessThanOrEqual(2);
    expectEqualSas(pair);
  });

  it('is solved whatever useless responses come meanwhile', () => {
    const pair = make({ puzzles: { ...EASY, difficulty: 12 }, network: () => [20] }).run(50);
    const [, demand] = messages(pair, 34).map((message) => crypto.read(message));
    forge(pair);
    forge(pair, findNotify(demand, NotifyType.COOKIE)!);
    expect(messages(pair, 34)).toHaveLength(2);
    pair.run(5000);
    const requests = messages(pair, 34).filter((message) => (message[19] & 0x20) === 0);
    expect(requests.map((message) => names(crypto.read(message)).includes('PS'))).toEqual([false, true]);
    expectEqualSas(pair);
  });

  it('that is repeated is not taken for an earlier one that was too hard', () => {
    const pair = make({
      puzzles: EASY,
      network: ({ from, message }) => {
        if (from === 'initiator') return [20];
        return names(crypto.read(message)).includes('N(PUZZLE)') ? [20, 1000] : [3000];
      },
    });
    forge(pair, notify(NotifyType.COOKIE, Uint8Array.of(1)), puzzleNotify(30));
    expectEqualSas(pair.run(20_000));
  });

  it('without a cookie is ignored', () => {
    const pair = make({ cookieThreshold: 1_000 });
    forge(pair, puzzleNotify(18));
    pair.run(5000);
    expectEqualSas(pair);
  });
});

describe('a puzzle in IKE_AUTH (RFC 8019 7.2)', () => {
  it('is demanded with the response of IKE_SA_INIT and solved ahead of the SK payload', () => {
    const pair = make({ authPuzzleDifficulty: 8 }).run(5000);
    const response = crypto.read(messages(pair, 34).at(-1)!);
    const [request] = messages(pair, 35);
    expect(findNotify(response, NotifyType.PUZZLE)!.data).toEqual(encodePuzzle({ prf: 5, difficulty: 8 }));
    expect(peekHeader(request)!.nextPayload).toBe(PayloadType.PS);
    const nonceR = findPayload(response, 'NONCE')!.data;
    const { spiR } = peekHeader(request)!;
    expect(solvedBits(provider, 5, concat(nonceR, spiR), request.subarray(32, 48))).toBeGreaterThanOrEqual(8);
    expectEqualSas(pair);
  });

  it('is not solved if the response that demands it is not accepted', () => {
    const pair = make({ cookieThreshold: 1_000, network: () => [50] }).run(60);
    const genuine = crypto.read(messages(pair, 34)[1]);
    const wrong = genuine.map((payload) =>
      payload.kind === 'KE' ? { ...payload, data: new Uint8Array(32) } : payload,
    );
    forge(pair, ...wrong, puzzleNotify(8));
    pair.run(5000);
    expect(messages(pair, 35).map((message) => peekHeader(message)!.nextPayload)).toEqual([
      PayloadType.SK,
      PayloadType.SK,
    ]);
    expectEqualSas(pair);
  });

  it('is solved in the first of the fragments only', () => {
    const pair = make({ authPuzzleDifficulty: 8, fragmentation: true, pathMtu: 300 }).run(5000);
    const requests = messages(pair, 35).filter((message) => (message[19] & 0x20) === 0);
    expect(requests.length).toBeGreaterThan(1);
    expect(requests.map((message) => message[16])).toEqual([
      PayloadType.PS,
      ...requests.slice(1).map(() => PayloadType.SKF),
    ]);
    for (const request of requests) expect(request.length).toBeLessThanOrEqual(300 - 28);
    expectEqualSas(pair);
  });

  it('keeps the keys from being computed before it is solved', () => {
    let ciphers = 0;
    const counting = {
      ...provider,
      protector: (...args: Parameters<typeof provider.protector>) => {
        ciphers++;
        return provider.protector(...args);
      },
    };
    const responder = { ...responderConfig(counting, anonymousProfile(relay)), authPuzzleDifficulty: 8 };
    const requests: Uint8Array[] = [];
    const pair = make({
      responder,
      network: ({ message }) => {
        const isRequest = message[18] === 35 && (message[19] & 0x20) === 0;
        if (isRequest) requests.push(message);
        return isRequest ? [] : [1];
      },
    }).run(400);
    const [request] = requests;
    pair.deliverToResponder(new Uint8Array(request).fill(0, 32, 48));
    pair.deliverToResponder(concat(request.subarray(0, 16), Uint8Array.of(46), request.subarray(17)));
    expect(ciphers).toBe(0);
    pair.deliverToResponder(request);
    expect(ciphers).toBeGreaterThan(0);
    pair.network = () => [1];
    expectEqualSas(pair.run(5000));
  });
});

function puzzleNotify(difficulty: number) {
  return notify(NotifyType.PUZZLE, encodePuzzle({ prf: 5, difficulty }));
}

/** An unprotected response to the initiator's first request, as anybody on the way can make it. */
function forge(pair: Pair, ...payloads: Payload[]): void {
  pair.run(0);
  const { spiI, exchangeType } = peekHeader(pair.sent[0].message)!;
  const flags = { initiator: false, response: true };
  const fields = { spiI, spiR: new Uint8Array(8).fill(1), exchangeType, flags, messageId: 0 };
  const message = encodePlain(fields, payloads);
  pair.call(pair.initiator, (ike, now) => ike.handleDatagram(message, mirror(TO_RESPONDER), now));
}
