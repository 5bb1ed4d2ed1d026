import { describe, expect, it } from 'vitest';
import type { ResponderProfile } from '../../src/ike/config.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { notify } from '../../src/ike/payload/index.ts';
import { findNotify } from '../../src/ike/payloads.ts';
import { hex } from '../../src/wire/bytes.ts';
import { accomplice } from '../support/accomplice.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import { expectNothingLeft } from '../support/pair-assertions.ts';

const HOUR = 3_600_000;
const crypto = testCrypto(71);
const { provider } = crypto;
const relay = sharedKey('relay');

function meet(profile: Partial<ResponderProfile>): Pair {
  return new Pair({
    initiator: initiatorConfig(provider, relay),
    responder: responderConfig(provider, { ...anonymousProfile(relay), ...profile }),
  }).run(1000);
}

describe('AUTH_LIFETIME (RFC 4478)', () => {
  it('is told to the initiator in seconds, and to its user', () => {
    const pair = meet({ authLifetime: HOUR });
    const response = crypto.read(pair.sent[3].message);
    expect(hex(findNotify(response, NotifyType.AUTH_LIFETIME)!.data)).toBe('00000e10');
    expect(pair.initiator.eventTypes).toEqual(['established', 'auth-lifetime', 'child-established']);
    expect(pair.initiator.event('auth-lifetime').remaining).toBe(HOUR);
    expect(pair.responder.eventTypes).toEqual(['established', 'child-established']);
  });

  it('ends with a Delete of the responder', () => {
    const pair = meet({ authLifetime: HOUR });
    pair.run(HOUR - 2000);
    expect(pair.initiator.ike.established).toBe(true);
    pair.run(2000);
    expect(pair.responder.ending).toBeUndefined();
    expect(pair.initiator.ending).toBeUndefined();
    expectNothingLeft(pair);
  });

  it('is not made longer by a rekey of the IKE SA', () => {
    const pair = meet({ authLifetime: HOUR });
    pair.run(HOUR / 2);
    pair.call(pair.initiator, (ike, now) => ike.rekey(now));
    pair.run(HOUR / 2 - 2000);
    expect(pair.initiator.ike.established).toBe(true);
    expect(pair.initiator.eventTypes).toContain('successor');
    pair.run(2000);
    expectNothingLeft(pair);
  });

  it('is not sent by default', () => {
    const pair = meet({});
    expect(findNotify(crypto.read(pair.sent[3].message), NotifyType.AUTH_LIFETIME)).toBeUndefined();
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-established']);
  });

  it('may come later, from the responder only', () => {
    const { pair, ask, send } = accomplice(72);
    pair.run(1000);
    const payload = notify(NotifyType.AUTH_LIFETIME, Uint8Array.of(0, 0, 0, 60));
    ask(37, 0, [payload]);
    expect(pair.initiator.event('auth-lifetime').remaining).toBe(60_000);
    send(37, 2, [payload]);
    pair.run(1000);
    expect(pair.responder.eventTypes).toEqual(['established', 'child-established']);
  });

  it.each([[''], ['000000'], ['0000003c00']])('of other octets than four (%s) is ignored', (data) => {
    const { pair, ask } = accomplice(73);
    pair.run(1000);
    ask(37, 0, [notify(NotifyType.AUTH_LIFETIME, new Uint8Array(Buffer.from(data, 'hex')))]);
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-established']);
    expect(pair.initiator.ike.established).toBe(true);
  });
});
