import { describe, expect, it } from 'vitest';
import type { InitiatorConfig, PeerClaim, ResponderProfile } from '../../src/ike/config.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { RefusedError } from '../../src/ike/errors.ts';
import { notify } from '../../src/ike/payload/index.ts';
import type { Origin } from '../../src/link/link.ts';
import { accomplice } from '../support/accomplice.ts';
import {
  anonymousProfile,
  initiatorConfig,
  mirror,
  responderConfig,
  sharedKey,
  TO_RESPONDER,
} from '../support/ike-configs.ts';
import { type End, names, Pair, type PairOptions, testCrypto } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';

const relay = sharedKey('relay');
/** The responder on port 4500, from where the initiator is at first, and from elsewhere. */
const HOME: Origin = { ...TO_RESPONDER, port: 4500, localPort: 4500, encapsulated: true };
const AWAY: Origin = { ...HOME, localAddress: '203.0.113.50' };
const NAT_DETECTION = ['N(NAT_DETECTION_SOURCE_IP)', 'N(NAT_DETECTION_DESTINATION_IP)'];

interface Options {
  readonly initiator?: Partial<InitiatorConfig>;
  readonly profile?: Partial<ResponderProfile>;
  readonly pair?: Partial<PairOptions>;
}

function make(seed: number, { initiator, profile, pair }: Options = {}) {
  const crypto = testCrypto(seed);
  const { provider } = crypto;
  const made = new Pair({
    initiator: { ...initiatorConfig(provider, relay), natDetection: true, mobike: true, ...initiator },
    responder: responderConfig(provider, { ...anonymousProfile(relay), mobike: () => true, ...profile }),
    ...pair,
  }).run(5000);
  return {
    pair: made,
    /** Payloads of the messages since a number of them. */
    since: (count: number) =>
      made.sent.slice(count).map(({ from, message }) => [from, ...names(crypto.read(message))]),
    move: (to: Origin) => made.call(made.initiator, (ike, now) => ike.updateAddresses(to, now)),
  };
}

const outboundPath = (end: End) => {
  const [sa] = end.store.outbound.values();
  return sa.path;
};

describe('MOBIKE is negotiated (RFC 4555 3.2, 3.3)', () => {
  it('in IKE_AUTH, which goes to port 4500 even if there is no NAT; ESP stays plain then', () => {
    const { pair, since } = make(1);
    expectEqualSas(pair);
    expect(pair.sent.map(({ to }) => to.port)).toEqual([500, 500, 4500, 4500]);
    for (const [, ...payloads] of since(2)) expect(payloads.at(-1)).toBe('N(MOBIKE_SUPPORTED)');
    // Liveness checks have nothing to ask about.
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    pair.run(1000);
    expect(since(4)).toEqual([['initiator'], ['responder']]);
    for (const end of [pair.initiator, pair.responder]) {
      expect(outboundPath(end).encapsulated).toBe(false);
      expect(end.ike.espPath.encapsulated).toBe(false);
      expect(end.ike.origin.encapsulated).toBe(true);
    }
  });

  it('to a responder that is told of where ESP goes, not IKE: it may have no plain ESP', () => {
    const claims: PeerClaim[] = [];
    const profile = { ...anonymousProfile(relay), mobike: () => true };
    const { provider } = testCrypto(13);
    for (const to of [TO_RESPONDER, HOME]) {
      const { responder } = new Pair({
        initiator: { ...initiatorConfig(provider, relay), natDetection: true, mobike: true },
        responder: {
          ...responderConfig(provider, profile),
          profile: (claim) => {
            claims.push(claim);
            return profile;
          },
        },
        to,
      }).run(5000);
      expect(responder.ike.origin.encapsulated).toBe(true);
    }
    expect(claims.map(({ origin }) => origin.encapsulated)).toEqual([false, true]);
  });

  it('only by an initiator that is configured to, with a responder whose profile does it', () => {
    const silent = make(2, { initiator: { mobike: false } });
    expect(silent.since(0).flat()).not.toContain('N(MOBIKE_SUPPORTED)');
    expect(silent.pair.sent.every(({ to }) => to.port === 500)).toBe(true);
    const alone = make(3, { profile: { mobike: undefined } });
    expect(
      alone
        .since(2)
        .flat()
        .filter((name) => name === 'N(MOBIKE_SUPPORTED)'),
    ).toHaveLength(1);
    for (const { pair, move } of [silent, alone]) {
      const before = pair.sent.length;
      move(AWAY);
      pair.run(5000);
      expect(pair.sent).toHaveLength(before);
      expect(pair.initiator.ike.origin.localAddress).toBe(TO_RESPONDER.localAddress);
    }
  });

  it('with ESP in UDP all the same, if IKE was on port 4500 from the start', () => {
    const { pair } = make(4, { pair: { to: HOME } });
    expectEqualSas(pair);
    for (const end of [pair.initiator, pair.responder]) expect(outboundPath(end).encapsulated).toBe(true);
  });
});

describe('an initiator whose address has changed (RFC 4555 3.5)', () => {
  it('tells the responder, which makes sure of it before it sends ESP there', () => {
    const { pair, since, move } = make(5);
    const before = pair.sent.length;
    const paths: string[] = [];
    pair.afterStep = () => void paths.push(outboundPath(pair.responder).address);
    move(AWAY);
    expect(outboundPath(pair.run(1).initiator).localAddress).toBe(AWAY.localAddress);
    pair.run(5000);
    expect(since(before)).toEqual([
      ['initiator', 'N(UPDATE_SA_ADDRESSES)', ...NAT_DETECTION],
      ['responder', ...NAT_DETECTION],
      ['responder', 'N(COOKIE2)'],
      ['initiator', 'N(COOKIE2)'],
    ]);
    for (const { from, to } of pair.sent.slice(before)) {
      expect(from === 'initiator' ? to.localAddress : to.address).toBe(AWAY.localAddress);
    }
    expect(outboundPath(pair.responder)).toMatchObject({ address: AWAY.localAddress, encapsulated: false });
    expect(outboundPath(pair.initiator)).toMatchObject({ localAddress: AWAY.localAddress });
    // Not before the cookie came back: 4 messages, of 20 ms each.
    expect(paths.indexOf(AWAY.localAddress)).toBeGreaterThan(3);
    expect(pair.responder.eventTypes).toEqual(['established', 'child-established']);
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-established']);
  });

  it('and the responder go on with what was outstanding, there', () => {
    const { pair, move } = make(6);
    pair.network = ({ to, from }) =>
      (from === 'initiator' ? to.localAddress : to.address) === AWAY.localAddress ? [20] : [];
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    pair.call(pair.responder, (ike, now) => ike.checkLiveness(now));
    move(AWAY);
    pair.run(30_000);
    expect(outboundPath(pair.responder).address).toBe(AWAY.localAddress);
    for (const end of [pair.initiator, pair.responder]) {
      expect(end.ike.established).toBe(true);
      expect(end.ike.nextTimeout).toBeUndefined();
    }
  });

  it('has the last of several changes count', () => {
    const { pair, move } = make(7);
    for (let i = 1; i <= 5; i++) {
      move({ ...AWAY, localAddress: `203.0.113.${i}` });
      pair.run(15);
    }
    pair.run(30_000);
    for (const end of [pair.initiator, pair.responder]) expect(end.ike.established).toBe(true);
    expect(pair.responder.ike.origin.address).toBe('203.0.113.5');
    expect(outboundPath(pair.responder).address).toBe('203.0.113.5');
    expect(outboundPath(pair.initiator).localAddress).toBe('203.0.113.5');
  });

  it('may come behind a NAT, or from behind one: ESP goes into UDP, and out of it', () => {
    let isBehind = false;
    const translate = (origin: Origin) =>
      isBehind ? { ...origin, address: '192.0.2.99', port: origin.port + 40_000 } : origin;
    const { pair, move } = make(8, { pair: { translate } });
    isBehind = true;
    move(AWAY);
    pair.run(5000);
    expect(pair.initiator.ike.behindNat).toBe(true);
    expect(outboundPath(pair.initiator)).toMatchObject({ encapsulated: true, port: 4500 });
    expect(outboundPath(pair.responder)).toMatchObject({
      encapsulated: true,
      address: '192.0.2.99',
      port: 44_500,
    });
    isBehind = false;
    move(HOME);
    pair.run(5000);
    expect(pair.initiator.ike.behindNat).toBe(false);
    for (const end of [pair.initiator, pair.responder]) expect(outboundPath(end).encapsulated).toBe(false);
  });

  it('is told that a new address is not acceptable, and ends', () => {
    const { pair, since, move } = make(9, {
      profile: { mobike: ({ address }) => address !== AWAY.localAddress },
    });
    const before = pair.sent.length;
    move(AWAY);
    pair.run(5000);
    expect(since(before)[1]).toEqual(['responder', 'N(UNACCEPTABLE_ADDRESSES)']);
    expect(pair.initiator.ending).toBeInstanceOf(RefusedError);
    expect(outboundPath(pair.responder).address).toBe(TO_RESPONDER.localAddress);
    expect(pair.responder.ike.origin.address).toBe(TO_RESPONDER.localAddress);
  });

  it('does not mind that an address is not acceptable which it has left already', () => {
    const { pair, move } = make(14, {
      profile: { mobike: ({ address }) => address !== AWAY.localAddress },
    });
    move(AWAY);
    move({ ...AWAY, localAddress: '203.0.113.51' });
    pair.run(5000);
    expect(pair.initiator.ike.established).toBe(true);
    expect(outboundPath(pair.responder).address).toBe('203.0.113.51');
  });

  it('keeps its Child SAs and its address through rekeys', () => {
    const { pair, move } = make(10);
    move(AWAY);
    pair.run(5000);
    pair.call(pair.initiator, (ike, now) => ike.rekey(now));
    pair.run(5000);
    move(HOME);
    pair.run(5000);
    pair.call(pair.responder, (ike, now) => ike.rekeyChild(pair.responder.tunnelId, now));
    pair.run(60_000);
    expect(outboundPath(pair.responder)).toMatchObject({ address: HOME.localAddress, encapsulated: false });
    expect(pair.initiator.ike.established && pair.responder.ike.established).toBe(true);
  });
});

describe('an IKE SA that is rekeyed while the responder makes sure of an address', () => {
  it('is rekeyed a little later: ESP goes to the new address all the same', () => {
    const { pair, move } = make(15);
    move(AWAY);
    pair.run(25);
    pair.call(pair.initiator, (ike, now) => ike.rekey(now));
    pair.run(60_000);
    expect(pair.responder.eventTypes).toContain('rekeyed');
    expect(outboundPath(pair.responder).address).toBe(AWAY.localAddress);
  });
});

describe('a Child SA that is rekeyed while the responder makes sure of an address', () => {
  it('goes with the one that it replaces', () => {
    const { pair, move } = make(16);
    const home = outboundPath(pair.responder).address;
    move(AWAY);
    pair.run(25);
    // The check stays open: its answers are lost.
    const isCheck = ({ from, message }: { from: string; message: Uint8Array }) =>
      from === 'initiator' && message[18] === 37 && (message[19] & 0x20) !== 0;
    pair.network = (sent) => (isCheck(sent) ? [] : [20]);
    pair.call(pair.initiator, (ike, now) => ike.rekeyChild(pair.initiator.tunnelId, now));
    pair.run(300);
    expect(pair.initiator.eventTypes).toContain('child-rekeyed');
    expect([...pair.responder.store.outbound.values()].map(({ path }) => path.address)).toEqual([home]);
    pair.network = () => [20];
    pair.run(60_000);
    expect(outboundPath(pair.responder).address).toBe(AWAY.localAddress);
  });
});

describe('the mapping of a NAT that changes (RFC 4555 3.8)', () => {
  it('is noticed by a liveness check of who is behind it, and told', () => {
    let shift = 0;
    const translate = (origin: Origin) => ({
      ...origin,
      address: '192.0.2.99',
      port: origin.port + 40_000 + shift,
    });
    const { pair, since } = make(11, { pair: { translate } });
    const check = () => {
      const before = pair.sent.length;
      pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
      pair.run(5000);
      return since(before).filter(([from]) => from === 'initiator');
    };
    expect(check()).toEqual([['initiator', ...NAT_DETECTION]]);
    expect(check()).toHaveLength(1);
    shift = 7;
    expect(check()).toEqual([
      ['initiator', ...NAT_DETECTION],
      ['initiator', 'N(UPDATE_SA_ADDRESSES)', ...NAT_DETECTION],
    ]);
    expect(outboundPath(pair.responder).port).toBe(44_507);
    expect(check()).toHaveLength(1);
    // Those of another IKE SA are not compared.
    pair.call(pair.initiator, (ike, now) => ike.rekey(now));
    pair.run(5000);
    expect(check()).toHaveLength(1);
  });

  it('is followed by ESP in UDP at once, and not by IKE', () => {
    const translate = (origin: Origin) => ({ ...origin, address: '192.0.2.99', port: origin.port + 40_000 });
    const { pair } = make(12, { pair: { translate } });
    const { origin } = pair.responder.ike;
    const path = { ...origin, port: 50_001 };
    const { tunnelId } = pair.responder;
    pair.call(pair.responder, (ike, now) => ike.handleSaEvent({ kind: 'moved', tunnelId, path }, now));
    pair.run(100);
    expect(outboundPath(pair.responder).port).toBe(50_001);
    expect(pair.responder.ike.origin).toEqual(origin);
  });
});

describe('a responder that does MOBIKE', () => {
  const UPDATE = notify(NotifyType.UPDATE_SA_ADDRESSES);
  const elsewhere = (last: number): Origin => ({ ...mirror(HOME), address: `203.0.113.${last}` });
  /** In the name of an initiator that does not keep to the rules. */
  const mobile = (seed: number, mobike = true) => {
    const made = accomplice(seed, {
      initiator: { natDetection: true, mobike: true },
      responder: {
        profile: () => ({ ...anonymousProfile(relay), ...(mobike && { mobike: () => true }) }),
      },
    });
    made.pair.run(5000);
    made.pair.network = () => [];
    return made;
  };
  const cookies = ({ pair, crypto }: ReturnType<typeof mobile>) =>
    pair.sent
      .filter(({ from, message }) => from === 'responder' && message[18] === 37 && (message[19] & 0x20) === 0)
      .map(({ message }) => names(crypto.read(message)).join());

  const lastCheck = ({ pair }: ReturnType<typeof mobile>) =>
    pair.sent.findLast(
      ({ from, message }) => from === 'responder' && message[18] === 37 && (message[19] & 0x20) === 0,
    )!.message;

  it('does not follow messages that do not ask for it', () => {
    const made = mobile(20);
    const { pair } = made;
    pair.deliverToResponder(made.protect(true, false, 37, 2, []), elsewhere(1));
    expect(pair.sent.at(-1)!.to.address).toBe('203.0.113.1');
    expect(pair.responder.ike.origin.address).toBe(TO_RESPONDER.localAddress);
  });

  it('moves no ESP to an address from which no cookie comes back', () => {
    const made = mobile(21);
    const { pair } = made;
    pair.deliverToResponder(made.protect(true, false, 37, 2, [UPDATE]), elsewhere(1));
    pair.run(600_000);
    expect(pair.responder.ike.closed).toBe(true);
    expect(pair.responderStore.log.map(({ kind }) => kind)).not.toContain('move');
  });

  it('nor after further updates from there', () => {
    const made = mobile(26);
    const { pair } = made;
    for (let id = 2; id < 5; id++) {
      pair.deliverToResponder(made.protect(true, false, 37, id, [UPDATE]), elsewhere(1));
    }
    pair.run(600_000);
    expect(pair.responder.ike.closed).toBe(true);
    expect(pair.responderStore.log.map(({ kind }) => kind)).not.toContain('move');
  });

  it('ends the IKE SA of whoever answers with another cookie', () => {
    for (const answer of [[], [notify(NotifyType.COOKIE2, new Uint8Array(16))]]) {
      const made = mobile(22);
      const { pair } = made;
      pair.deliverToResponder(made.protect(true, false, 37, 2, [UPDATE]), elsewhere(1));
      pair.deliverToResponder(made.protect(true, true, 37, 0, answer), elsewhere(1));
      expect(pair.responder.ending?.message).toMatch(/another COOKIE2/);
    }
  });

  it('has one check under way and one waiting, however many updates there are', () => {
    const made = mobile(23);
    const { pair } = made;
    for (let i = 0; i < 100; i++) {
      pair.deliverToResponder(made.protect(true, false, 37, 2 + i, [UPDATE]), elsewhere(i));
    }
    expect(pair.responder.ike.origin.address).toBe('203.0.113.99');
    for (let id = 0; id < 5; id++) {
      expect(cookies(made)).toHaveLength(Math.min(id + 1, 2));
      const [cookie] = made.crypto.read(lastCheck(made));
      pair.deliverToResponder(made.protect(true, true, 37, id, [cookie]), elsewhere(99));
      // The first check was of an address that the initiator has left.
      const moved = pair.run(100).responderStore.log.filter(({ kind }) => kind === 'move').length;
      expect(moved).toBe(id === 0 ? 0 : 1);
    }
  });

  it('repeats what it is asked to, and ignores addresses that it does not need', () => {
    const made = mobile(24);
    const { pair, crypto } = made;
    const noOthers = notify(16399);
    const cookie = notify(NotifyType.COOKIE2, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    pair.deliverToResponder(made.protect(true, false, 37, 2, [noOthers, cookie]), mirror(HOME));
    expect(crypto.read(pair.sent.at(-1)!.message)).toEqual([cookie]);
  });

  it('takes no update if it was not negotiated', () => {
    const made = mobile(25, false);
    const { pair, crypto } = made;
    const cookie = notify(NotifyType.COOKIE2, new Uint8Array(8));
    pair.deliverToResponder(made.protect(true, false, 37, 2, [UPDATE, cookie]), elsewhere(1));
    expect(crypto.read(pair.sent.at(-1)!.message)).toEqual([]);
    pair.run(5000);
    expect(cookies(made)).toEqual([]);
  });
});
