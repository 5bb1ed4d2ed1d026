import { describe, expect, it } from 'vitest';
import type { Origin } from '../../src/link/link.ts';
import {
  anonymousProfile,
  initiatorConfig,
  responderConfig,
  sharedKey,
  TO_RESPONDER,
} from '../support/ike-configs.ts';
import { Pair, type PairOptions, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';

const relay = sharedKey('relay');

function make(seed: number, options: Partial<PairOptions>, natDetection = true): Pair {
  const { provider } = testCrypto(seed);
  return new Pair({
    initiator: { ...initiatorConfig(provider, relay), natDetection },
    responder: responderConfig(provider, anonymousProfile(relay)),
    ...options,
  });
}

/** A NAT in front of the initiator; each port has a mapping of its own. */
const behindNat = (origin: Origin): Origin => ({
  ...origin,
  address: '203.0.113.7',
  port: origin.port + 40_000,
});

describe('NAT traversal', () => {
  it('moves to port 4500 after IKE_SA_INIT when the initiator is behind a NAT (rule 72)', () => {
    const pair = make(1, { translate: behindNat }).run(5000);
    expectEqualSas(pair);
    const ports = pair.sent
      .filter(({ from }) => from === 'initiator')
      .map(({ to }) => [to.port, to.localPort, to.encapsulated]);
    expect(ports).toEqual([
      [500, 500, false],
      [4500, 4500, true],
    ]);
    const answers = pair.sent
      .filter(({ from }) => from === 'responder')
      .map(({ to }) => [to.address, to.port]);
    expect(answers).toEqual([
      ['203.0.113.7', 40_500],
      ['203.0.113.7', 44_500],
    ]);
    const [inbound] = pair.initiator.store.inbound.values();
    expect(inbound.path).toMatchObject({ encapsulated: true, port: 4500 });
    const [outbound] = pair.responderStore.outbound.values();
    expect(outbound.path).toMatchObject({ encapsulated: true, address: '203.0.113.7', port: 44_500 });
  });

  it('moves when the responder is behind a NAT (rule 72)', () => {
    const translate = (origin: Origin) => ({ ...origin, localAddress: '10.0.0.2' });
    const pair = make(2, { translate }).run(5000);
    expectEqualSas(pair);
    expect(pair.sent[2].to).toMatchObject({ port: 4500, encapsulated: true });
  });

  it('stays on port 500 without a NAT, and without detection', () => {
    for (const pair of [make(3, {}), make(4, { translate: behindNat }, false)]) {
      pair.run(5000);
      expectEqualSas(pair);
      expect(pair.sent.every(({ to }) => !to.encapsulated)).toBe(true);
      expect(pair.sent[2].to).toEqual(TO_RESPONDER);
    }
  });

  it('lets the responder follow the initiator’s address, but only an authenticated new message', () => {
    let shift = 0;
    const translate = (origin: Origin) => ({
      ...behindNat(origin),
      port: origin.port === 500 ? 40_500 : 44_500 + shift,
    });
    const pair = make(5, { translate }).run(5000);
    const lastTo = () => pair.sent.filter(({ from }) => from === 'responder').at(-1)!.to.port;
    const moves = () => pair.responderStore.log.filter(({ kind }) => kind === 'move');
    // A replayed old request and a tampered new one from elsewhere do not move it.
    const auth = pair.sent[2].message;
    const elsewhere = { ...behindNat(TO_RESPONDER), address: '192.0.2.99', port: 1 };
    pair.deliverToResponder(auth, elsewhere);
    const tampered = auth.slice();
    tampered[23] = 2;
    pair.deliverToResponder(tampered, elsewhere);
    pair.call(pair.responder, (ike, now) => ike.checkLiveness(now));
    expect(lastTo()).toBe(44_500);
    pair.run(5000);
    expect(moves()).toEqual([]);
    shift = 7;
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    pair.run(5000);
    expect(lastTo()).toBe(44_507);
    pair.call(pair.responder, (ike, now) => ike.checkLiveness(now));
    expect(lastTo()).toBe(44_507);
    // ESP follows with it, once.
    const { spiOut, tunnel } = pair.responder.event('child-established').child;
    expect(moves()).toMatchObject([{ spi: spiOut, tunnelId: tunnel.id, path: { port: 44_507 } }]);
    expect(pair.responderStore.outbound.get(spiOut)?.path).toMatchObject({
      address: '203.0.113.7',
      port: 44_507,
      encapsulated: true,
    });
    expect(pair.initiator.store.log.map(({ kind }) => kind)).not.toContain('move');
    // The initiator, which has the NAT on its own side, stays with the address that it chose.
    const toInitiator = pair.sent.filter(({ from }) => from === 'initiator').map(({ to }) => to.address);
    expect(new Set(toInitiator)).toEqual(new Set([TO_RESPONDER.address]));
    pair.call(pair.responder, (ike, now) => ike.close(now));
    pair.run(5000);
    expectNothingLeft(pair);
  });

  it('does not move ESP that is not encapsulated', () => {
    let shift = 0;
    const translate = (origin: Origin) => ({ ...origin, port: origin.port + shift });
    const pair = make(6, { translate }, false).run(5000);
    shift = 7;
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    pair.run(5000);
    expect(pair.responder.ike.origin.port).toBe(507);
    expect(pair.responderStore.log.map(({ kind }) => kind)).not.toContain('move');
  });

  it('does not let an end follow that is behind a NAT itself, though it answers where it was asked from (rule 73) (rule 74)', () => {
    let shift = 0;
    // The responder has another address than the one that it is known by.
    const translate = (origin: Origin) => ({
      ...origin,
      localAddress: '10.0.0.2',
      port: origin.port + shift,
    });
    const pair = make(7, { translate }).run(5000);
    expectEqualSas(pair);
    expect(pair.responder.ike.behindNat).toBe(true);
    expect(pair.initiator.ike.behindNat).toBe(false);
    const before = pair.responder.ike.origin;
    shift = 7;
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    pair.run(5000);
    expect(pair.sent.at(-1)).toMatchObject({ from: 'responder', to: { port: 4507 } });
    expect(pair.responder.ike.origin).toBe(before);
    expect(pair.responderStore.log.map(({ kind }) => kind)).not.toContain('move');
  });

  it('lets the initiator follow a responder that is behind a NAT, after a valid ICV only (rule 74) (bad input 19)', () => {
    const translate = (origin: Origin) => ({ ...origin, localAddress: '10.0.0.2' });
    const pair = make(8, { translate }).run(5000);
    const to = pair.initiator.ike.origin;
    const moved = { ...to, port: 61_000 };
    const receive = (message: Uint8Array, from: Origin) =>
      pair.call(pair.initiator, (ike, now) => ike.handleDatagram(message, from, now));
    pair.network = () => [];
    pair.call(pair.responder, (ike, now) => ike.checkLiveness(now));
    const request = pair.sent.at(-1)!.message;
    receive(request.with(request.length - 1, request[request.length - 1] ^ 1), { ...moved, port: 1 });
    expect(pair.initiator.ike.origin).toEqual(to);
    receive(request, moved);
    expect(pair.initiator.ike.origin).toEqual(moved);
    // The same request again, from elsewhere, is answered there, but not followed.
    receive(request, { ...moved, port: 2 });
    expect(pair.sent.at(-1)!.to.port).toBe(2);
    expect(pair.initiator.ike.origin).toEqual(moved);
    const [outbound] = pair.run(10).initiator.store.outbound.values();
    expect(outbound.path).toEqual(moved);
  });

  it('has initiators follow nobody without NAT detection, as inside a telescope', () => {
    const pair = make(9, {}, false).run(5000);
    const to = pair.initiator.ike.origin;
    pair.network = () => [];
    pair.call(pair.responder, (ike, now) => ike.checkLiveness(now));
    pair.call(pair.initiator, (ike, now) =>
      ike.handleDatagram(pair.sent.at(-1)!.message, { ...to, address: '192.0.2.66' }, now),
    );
    expect(pair.initiator.ike.origin).toEqual(to);
    expect(pair.initiator.ike.behindNat).toBe(false);
  });

  it('follows ESP in UDP only, and only once the IKE SA is established', () => {
    const pair = make(10, { translate: behindNat }).run(5000);
    const { tunnel, spiOut } = pair.responder.event('child-established').child;
    const before = pair.responder.ike.origin;
    const moved = (path: Origin) =>
      pair.call(pair.responder, (ike, now) =>
        ike.handleSaEvent({ kind: 'moved', tunnelId: tunnel.id, path }, now),
      );
    moved({ ...before, port: 0, encapsulated: false });
    expect(pair.responder.ike.origin).toEqual(before);
    moved({ ...before, port: 50_001 });
    expect(pair.run(10).responderStore.outbound.get(spiOut)?.path).toEqual({ ...before, port: 50_001 });
    expect(pair.responder.ike.origin.port).toBe(50_001);
  });
});
