import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  parseSocksDatagram,
  SocksError,
  SocksNegotiation,
  SocksReply,
  type SocksStep,
  socksDatagram,
  socksReply,
} from '../../src/socks/protocol.ts';

const ascii = (text: string) => [...Buffer.from(text)];
const GREETING = [5, 1, 0];
const WITH_PASSWORD = [5, 2, 0, 2];
const PASSWORD = [1, 3, ...ascii('bob'), 2, ...ascii('pw')];
const CONNECT = [5, 1, 0, 3, 11, ...ascii('example.org'), 1, 187];

/** Everything the server says, until there is a request or nothing more to say. */
function converse(chunks: readonly (readonly number[])[]): { answers: number[][]; last: SocksStep } {
  const negotiation = new SocksNegotiation();
  const answers: number[][] = [];
  let last: SocksStep = { kind: 'incomplete' };
  for (const chunk of chunks) {
    last = negotiation.step(new Uint8Array(chunk));
    while (last.kind === 'answer') {
      answers.push([...last.octets]);
      last = negotiation.step();
    }
  }
  return { answers, last };
}

function failure(...chunks: readonly (readonly number[])[]): SocksError {
  try {
    converse(chunks);
  } catch (error) {
    expect(error).toBeInstanceOf(SocksError);
    return error as SocksError;
  }
  throw new Error('accepted');
}

describe('SocksNegotiation', () => {
  it('takes a request without authentication', () => {
    const { answers, last } = converse([GREETING, CONNECT]);
    expect(answers).toEqual([[5, 0]]);
    expect(last).toEqual({
      kind: 'request',
      request: { command: 'connect', host: { name: 'example.org' }, port: 443, credentials: '' },
      rest: new Uint8Array(0),
    });
  });

  it('prefers a password, and knows any two that differ apart', () => {
    const { answers, last } = converse([WITH_PASSWORD, PASSWORD, CONNECT]);
    expect(answers).toEqual([
      [5, 2],
      [1, 0],
    ]);
    expect(last).toMatchObject({ kind: 'request', request: { credentials: '["bob","pw"]' } });
    const other = converse([WITH_PASSWORD, [1, 2, ...ascii('bo'), 3, ...ascii('bpw')], CONNECT]);
    expect(other.last).toMatchObject({ request: { credentials: '["bo","bpw"]' } });
  });

  it('is the same in whatever pieces the octets come', () => {
    const all = [...WITH_PASSWORD, ...PASSWORD, ...CONNECT, 7, 7];
    const whole = converse([all]);
    expect(whole.last).toMatchObject({ kind: 'request', rest: new Uint8Array([7, 7]) });
    for (let cut = 1; cut < all.length - 2; cut++) {
      const { last } = converse([all.slice(0, cut), all.slice(cut)]);
      expect(last).toEqual(whole.last);
    }
    expect(converse(all.slice(0, -2).map((octet) => [octet])).last.kind).toBe('request');
  });

  it('takes addresses of both families, and UDP ASSOCIATE', () => {
    const ip4 = converse([GREETING, [5, 3, 0, 1, 192, 0, 2, 1, 0, 53]]).last;
    expect(ip4).toMatchObject({ request: { command: 'udp-associate', host: '192.0.2.1', port: 53 } });
    const ip6 = converse([GREETING, [5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 1, 0, 80]]).last;
    expect(ip6).toMatchObject({ request: { command: 'connect', host: '2001:db8::1', port: 80 } });
  });

  it.each([
    ['SOCKS 4', [[4, 1, 0, 80, 192, 0, 2, 1, 0]], /SOCKS 4, which leaves names/, []],
    ['HTTP', [ascii('GET / HTTP/1.1')], /another protocol/, []],
    ['no method of ours', [[5, 1, 1]], /neither a password/, [5, 0xff]],
    ['no method at all', [[5, 0]], /neither a password/, [5, 0xff]],
    ['no user name', [WITH_PASSWORD, CONNECT], /no user name/, [1, 1]],
    ['BIND', [GREETING, [5, 2, 0, 1, 1, 1, 1, 1, 0, 80]], /command 2/, [...socksReply(7)]],
    ['an address type that is none', [GREETING, [5, 1, 0, 2, 1]], /address type 2/, [...socksReply(8)]],
    ['a name with a space', [GREETING, [5, 1, 0, 3, 3, ...ascii('a b'), 0, 80]], /name/, [...socksReply(1)]],
    ['a name of nothing', [GREETING, [5, 1, 0, 3, 0, 0, 80]], /name/, [...socksReply(1)]],
  ])('refuses %s', (_, chunks, message, answer) => {
    const error = failure(...chunks);
    expect(error.message).toMatch(message);
    expect([...error.answer]).toEqual(answer);
  });

  it('never throws anything else', () => {
    const octets = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc.uint8Array().map((tail) => new Uint8Array([...GREETING, 5, 1, 0, ...tail])),
    );
    fc.assert(
      fc.property(octets, (input) => {
        try {
          converse([[...input]]);
        } catch (error) {
          expect(error).toBeInstanceOf(SocksError);
        }
      }),
    );
  });
});

describe('datagrams', () => {
  it('says whence one came in the way it is told where to', () => {
    const octets = socksDatagram({ host: '192.0.2.1', port: 53 }, new Uint8Array([1, 2, 3]));
    expect([...octets]).toEqual([0, 0, 0, 1, 192, 0, 2, 1, 0, 53, 1, 2, 3]);
    expect(parseSocksDatagram(octets)).toEqual({
      host: '192.0.2.1',
      port: 53,
      payload: new Uint8Array([1, 2, 3]),
    });
  });

  it('drops fragments, and what is cut short', () => {
    const octets = socksDatagram({ host: '2001:db8::1', port: 53 }, new Uint8Array(0));
    expect(parseSocksDatagram(octets)).toMatchObject({ host: '2001:db8::1', port: 53 });
    expect(parseSocksDatagram(octets.with(2, 1))).toBeUndefined();
    for (let length = 0; length < octets.length; length++)
      expect(parseSocksDatagram(octets.subarray(0, length))).toBeUndefined();
    expect(parseSocksDatagram(new Uint8Array([0, 0, 0, 9, 1, 2, 3, 4, 5, 6]))).toBeUndefined();
  });

  it('answers a request with the place to send them to', () => {
    expect([...socksReply(SocksReply.SUCCEEDED, { host: '127.0.0.1', port: 4660 })]).toEqual([
      5, 0, 0, 1, 127, 0, 0, 1, 0x12, 0x34,
    ]);
  });
});
