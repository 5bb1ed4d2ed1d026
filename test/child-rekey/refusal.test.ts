import { describe, expect, it } from 'vitest';
import { KeyExchangeMethod } from '../../src/crypto/transforms.ts';
import { encodeSpi } from '../../src/ike/child-sa.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { notify, type Payload, ProtocolId } from '../../src/ike/payload/index.ts';
import { defaultChildProposals, encodeProposals } from '../../src/ike/proposal.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { anySelector, prefixSelector } from '../../src/wire/traffic-selector.ts';
import { accomplice } from '../support/accomplice.ts';
import { Duel, type Side, spi } from '../support/duel.ts';
import { EITHER, expectKept, news, proposal, rekey } from './steps.ts';

const LIFETIME = { childLifetime: { soft: 3_600_000, hard: 4_000_000, jitter: 0 } };

/** A message with some payloads replaced. */
function change(duel: Duel, side: Side, replace: (payload: Payload) => Payload) {
  const flight = duel.take(side);
  return duel.rewrite(flight, duel.read(flight).payloads.map(replace));
}

function answered(duel: Duel, side: Side, type: number): void {
  duel.deliver(side, duel.rewrite(duel.take(side), [notify(type)]));
}

describe('a rekey that the peer refuses', () => {
  it('for now, is tried again after 5 to 10 seconds (rule 67)', () => {
    const delays = new Set<number>();
    for (let i = 0; i < 8; i++) {
      const duel = new Duel();
      for (let j = 0; j < i; j++) duel.crypto.provider.random(4);
      rekey(duel, 'a');
      duel.deliver('b');
      answered(duel, 'a', NotifyType.TEMPORARY_FAILURE);
      expect(duel.a.installed).toEqual([1, 2]);
      expect(duel.a.reserved).toEqual([]);
      const due = duel.a.ike.nextTimeout!;
      expect(due).toBeGreaterThanOrEqual(5_000);
      expect(due).toBeLessThan(10_000);
      delays.add(due);
      duel.advance(due - 1);
      expect(duel.pending('b')).toEqual([]);
      duel.advance(1);
      expect(duel.read(duel.take('b')).names[0]).toBe('N(REKEY_SA)');
    }
    expect(delays.size).toBe(8);
  });

  it('or that our own backend has no SPI for, is tried again as well', () => {
    const duel = new Duel();
    duel.a.store.failure = ({ kind }) => (kind === 'reserve' ? 'none left' : undefined);
    rekey(duel, 'a');
    expect(duel.pending('b')).toEqual([]);
    expect(duel.a.installed).toEqual([1, 2]);
    duel.a.store.failure = () => undefined;
    duel.advance(10_000);
    expect(duel.read(duel.take('b')).names[0]).toBe('N(REKEY_SA)');
  });

  it.each(['NO_ADDITIONAL_SAS', 'NO_PROPOSAL_CHOSEN', 'TS_UNACCEPTABLE'] as const)(
    'with %s, leaves it as it is until the end of its lifetime',
    (name) => {
      const duel = new Duel({ initiator: LIFETIME });
      rekey(duel, 'a');
      duel.deliver('b');
      answered(duel, 'a', NotifyType[name]);
      expect(duel.a.installed).toEqual([1, 2]);
      expect(duel.a.reserved).toEqual([]);
      expect(news(duel, 'a')).toEqual([]);
      duel.advance(3_599_000);
      expect(duel.a.installed).toEqual([1, 2]);
      duel.advance(500_000);
      expect(duel.a.installed).toEqual([]);
    },
  );

  it('because it does not know the SA, closes the tunnel', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    answered(duel, 'a', NotifyType.CHILD_SA_NOT_FOUND);
    expect(duel.a.store.isEmpty).toBe(true);
    expect(news(duel, 'a')).toEqual(['child-closed']);
    duel.settle();
    expect(duel.a.events.at(-1)).toMatchObject({ type: 'closed', error: { message: /peer closed/ } });
  });

  it.each(['INVALID_SYNTAX', 'UNSUPPORTED_CRITICAL_PAYLOAD'] as const)('with %s, ends the IKE SA', (name) => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    answered(duel, 'a', NotifyType[name]);
    expect(duel.a.store.isEmpty).toBe(true);
    expect(duel.a.events.at(-1)).toMatchObject({ type: 'closed', error: { notify: NotifyType[name] } });
  });

  it('with an INVALID_KE_PAYLOAD for a method that was not offered, leaves it as it is', () => {
    const config = { childProposals: [proposal(KeyExchangeMethod.CURVE25519)] };
    const duel = new Duel({ initiator: config, responder: config });
    rekey(duel, 'a');
    const flight = duel.take('b');
    duel.deliver('b', flight);
    duel.deliver(
      'a',
      duel.rewrite(duel.take('a'), [notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(0, 14))]),
    );
    expect(duel.a.installed).toEqual([1, 2]);
    expect(duel.a.reserved).toEqual([]);
    expect(duel.pending('b')).toEqual([]);
  });
});

describe('the key exchange of a rekey', () => {
  const X25519 = { childProposals: [proposal(KeyExchangeMethod.CURVE25519)] };
  const OPTIONAL = { childProposals: [proposal(KeyExchangeMethod.CURVE25519, 0)] };
  const NONE = { childProposals: [proposal()] };

  it.each(EITHER)('makes new keys at both ends ($one rekeys) (rule 25)', ({ one }) => {
    const duel = new Duel({ initiator: X25519, responder: X25519 });
    rekey(duel, one);
    duel.settle();
    if (one === 'a') expectKept(duel, 3, 4);
    else expectKept(duel, 4, 3);
  });

  it('does not take place if NONE is among the methods and the peer has none', () => {
    const duel = new Duel({ initiator: OPTIONAL, responder: NONE });
    rekey(duel, 'a');
    expect(duel.deliver('b').names).toContain('KE');
    expect(duel.deliver('a').names).not.toContain('KE');
    duel.settle();
    expectKept(duel, 3, 4);
  });

  it.each([
    [X25519, NONE],
    [NONE, X25519],
  ])('is not done without: %j %j', (initiator, responder) => {
    const duel = new Duel({ initiator, responder });
    rekey(duel, 'a');
    duel.deliver('b');
    expect(duel.deliver('a').names).toEqual(['N(NO_PROPOSAL_CHOSEN)']);
    expect(duel.b.installed).toEqual([1, 2]);
  });

  it('with a value that cannot be ends the IKE SA', () => {
    const duel = new Duel({ initiator: X25519, responder: X25519 });
    rekey(duel, 'a');
    const zeros = change(duel, 'b', (payload) =>
      payload.kind === 'KE' ? { ...payload, data: new Uint8Array(32) } : payload,
    );
    duel.deliver('b', zeros);
    expect(duel.deliver('a').names).toEqual(['N(INVALID_SYNTAX)']);
    expect(duel.b.store.isEmpty && duel.a.store.isEmpty).toBe(true);
  });
});

describe('a rekey that changes the traffic selectors (rule 62)', () => {
  const narrower = prefixSelector(parsePrefix('10.0.0.0/8'));

  it('is refused if it offers less than what is in use', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    const less = change(duel, 'b', (payload) =>
      payload.kind === 'TSi' ? { kind: 'TSi', selectors: [narrower] } : payload,
    );
    duel.deliver('b', less);
    expect(duel.deliver('a').names).toEqual(['N(TS_UNACCEPTABLE)']);
    expect(duel.b.installed).toEqual([1, 2]);
  });

  it('is answered with what is in use if it offers more', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    const more = change(duel, 'b', (payload) =>
      payload.kind === 'TSi' ? { kind: 'TSi', selectors: [anySelector(6), anySelector(4)] } : payload,
    );
    duel.deliver('b', more);
    duel.settle();
    expectKept(duel, 3, 4);
  });

  it.each([
    ['TSi', 'less', [narrower]],
    ['TSi', 'more', [anySelector(4), anySelector(6)]],
    ['TSr', 'less', [narrower]],
    ['TSr', 'more', [anySelector(4), anySelector(6)]],
  ] as const)('is undone if %s of the answer has %s of them', (kind, _what, selectors) => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    const answer = change(duel, 'a', (payload) => (payload.kind === kind ? { kind, selectors } : payload));
    duel.deliver('a', answer);
    expect(duel.a.installed).toEqual([1, 2]);
    expect(duel.deliver('b').spis).toEqual([3]);
    duel.settle();
    duel.advance(5_000);
    expect(duel.b.inbound).toEqual([2]);
    expect(duel.b.outbound).toEqual([1]);
    expect(duel.a.reserved).toEqual([]);
    expect(news(duel, 'a')).toEqual([]);
    expect(news(duel, 'b')).toEqual([]);
  });
});

describe('a REKEY_SA that names nothing', () => {
  /** What b answers to a rekey whose notify is this. */
  function answerTo(protocol: number, octets: Uint8Array) {
    const duel = new Duel();
    rekey(duel, 'a');
    const forged = change(duel, 'b', (payload) =>
      payload.kind === 'NOTIFY' ? notify(NotifyType.REKEY_SA, undefined, protocol, octets) : payload,
    );
    duel.deliver('b', forged);
    expect(duel.b.installed).toEqual([1, 2]);
    expect(duel.b.reserved).toEqual([]);
    expect(duel.b.ike.established).toBe(true);
    return duel.read(duel.take('a')).payloads;
  }

  it.each([0, 1, 2, 255])('because its protocol is %i is not echoed (bad input 6)', (protocol) => {
    expect(answerTo(protocol, encodeSpi(spi(1)))).toEqual([notify(NotifyType.CHILD_SA_NOT_FOUND)]);
  });

  it.each([0, 3, 8])('because its SPI has %i octets is not echoed (bad input 6)', (length) => {
    expect(answerTo(ProtocolId.ESP, new Uint8Array(length).fill(7))).toEqual([
      notify(NotifyType.CHILD_SA_NOT_FOUND),
    ]);
  });

  it('is answered with that SPI, and ESP (rule 67)', () => {
    expect(answerTo(ProtocolId.ESP, encodeSpi(0xdeadbeef))).toEqual([
      notify(NotifyType.CHILD_SA_NOT_FOUND, undefined, ProtocolId.ESP, encodeSpi(0xdeadbeef)),
    ]);
  });

  it('because it is our own SPI, not its sender’s, is not found (rule 63)', () => {
    expect(answerTo(ProtocolId.ESP, encodeSpi(spi(2)))).toEqual([
      notify(NotifyType.CHILD_SA_NOT_FOUND, undefined, ProtocolId.ESP, encodeSpi(spi(2))),
    ]);
  });
});

describe('a Child SA that the peer rekeys twice', () => {
  /** The same request with another SPI. */
  const again = (payloads: readonly Payload[]) =>
    payloads.map((payload) =>
      payload.kind === 'SA'
        ? { ...payload, proposals: payload.proposals.map((p) => ({ ...p, spi: encodeSpi(spi(99)) })) }
        : payload,
    );

  it.each([false, true])(
    'before it deletes it is replaced once (we rekey it too: %s) (bad input 16)',
    (too) => {
      const duel = new Duel();
      rekey(duel, 'a');
      if (too) rekey(duel, 'b');
      const own = too ? [duel.take('a')] : [];
      const first = duel.read(duel.pending('b')[0]).payloads;
      duel.deliver('b');
      const before = duel.b.installed;
      duel.deliver('a');
      // A's Delete becomes a second rekey of the same SA.
      duel.deliver('b', duel.rewrite(duel.take('b'), again(first), 36));
      expect(duel.read(duel.take('a')).names).toEqual(['N(TEMPORARY_FAILURE)']);
      expect(duel.b.installed).toEqual(before);
      expect(duel.b.reserved).toEqual(too ? [4] : []);
      expect(own).toHaveLength(too ? 1 : 0);
    },
  );

  it('with an SPI that it uses already is refused (bad input 16)', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    const same = change(duel, 'b', (payload) =>
      payload.kind === 'SA'
        ? { ...payload, proposals: payload.proposals.map((p) => ({ ...p, spi: encodeSpi(spi(1)) })) }
        : payload,
    );
    duel.deliver('b', same);
    expect(duel.deliver('a').names).toEqual(['N(NO_PROPOSAL_CHOSEN)']);
    expect(duel.b.installed).toEqual([1, 2]);
  });

  it('and then again, before it deletes the first, follows', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    duel.deliver('a');
    duel.settle();
    rekey(duel, 'a');
    duel.settle();
    duel.advance(5_000);
    expect(duel.a.inbound).toEqual([5]);
    expect(duel.b.inbound).toEqual([6]);
  });
});

describe('an IKE SA that is not established', () => {
  it('has no Child SA to rekey (bad input 5)', () => {
    const { pair, send } = accomplice(11);
    pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    pair.run(100);
    const before = pair.sent.length;
    send(36, 1, [
      notify(NotifyType.REKEY_SA, undefined, ProtocolId.ESP, encodeSpi(0x1000)),
      { kind: 'SA', proposals: encodeProposals(defaultChildProposals, ProtocolId.ESP, encodeSpi(0x5000)) },
      { kind: 'NONCE', data: new Uint8Array(32) },
      { kind: 'TSi', selectors: [anySelector(4)] },
      { kind: 'TSr', selectors: [anySelector(4)] },
    ]);
    expect(pair.sent).toHaveLength(before);
    expect(pair.responderStore.log).toEqual([]);
    expect(pair.responder.ike.established).toBe(false);
  });
});
