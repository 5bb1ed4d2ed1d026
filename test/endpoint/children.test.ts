import { describe, expect, it } from 'vitest';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import { LocalError, RefusedError } from '../../src/ike/errors.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { prefixSelector } from '../../src/wire/traffic-selector.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { testCrypto } from '../support/pair.ts';
import { SimNetwork } from '../support/sim-network.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const crypto = testCrypto(23).provider;
const relay = sharedKey('relay');

/** Two endpoints; the responder protects two networks, and lets its peer protect one. */
async function world(childless: boolean) {
  const clock = new VirtualClock();
  const network = new SimNetwork(clock);
  const [here, there] = [network.host('i', '198.51.100.1'), network.host('r', '198.51.100.2')];
  network.join('i', 'r');
  const backend = userSpaceBackend(crypto);
  const initiator = await Endpoint.open({ link: here, backend, crypto, clock });
  const responder = await Endpoint.open({ link: there, backend, crypto, clock });
  const { assigner, ...anonymous } = anonymousProfile(relay);
  const accepted: IkeConnection[] = [];
  responder.listen({
    config: {
      ...responderConfig(crypto, { ...anonymous, tsRemote: [net('10.1.0.0/16')], maxChildren: 2 }),
      childless: 'allowed',
    },
    cookieThreshold: 100,
    maxHalfOpen: 8,
    onChild: (connection) => void accepted.push(connection),
    onClosed: () => {},
  });
  const { child, ...config } = initiatorConfig(crypto, relay);
  const selectors = { tsI: [net('10.1.0.0/16')], tsR: [net('10.2.0.0/16')] };
  const connection = await clock.until(
    initiator.connect(
      { ...config, ...(!childless && { child: selectors }) },
      here.origin('198.51.100.2', false),
    ),
  );
  return { clock, initiator, responder, connection, accepted, selectors };
}

const net = (text: string) => prefixSelector(parsePrefix(text));

describe('a connection', () => {
  it('can be without a Child SA, and make one later (RFC 6023)', async () => {
    const { clock, connection, accepted, selectors } = await world(true);
    expect(connection.child).toBeUndefined();
    const made = await clock.until(connection.createChild(selectors));
    expect(connection.child).toBe(made);
    expect(made.tunnel.policy).toMatchObject({ local: selectors.tsI, remote: selectors.tsR });
    expect(accepted[0].child!.info.spiIn).toBe(made.info.spiOut);
  });

  it('without a Child SA stays when one is refused', async () => {
    const { clock, initiator, connection, selectors } = await world(true);
    const foreign = { tsI: [net('10.9.0.0/16')], tsR: [net('10.2.0.0/16')] };
    await expect(clock.until(connection.createChild(foreign))).rejects.toThrow(RefusedError);
    await clock.until(connection.createChild(selectors));
    expect(initiator.size).toBe(1);
  });

  it('makes, rekeys and closes Child SAs', async () => {
    const { clock, connection, accepted } = await world(false);
    const first = connection.child!;
    const other = { tsI: [net('10.1.0.0/16')], tsR: [net('10.3.0.0/16')] };
    const made = await clock.until(connection.createChild(other));
    expect(made.tunnel).not.toBe(first.tunnel);
    connection.rekeyChildren();
    await clock.advance(10_000);
    expect(connection.child!.tunnel).toBe(first.tunnel);
    expect(connection.child!.info.spiIn).not.toBe(first.info.spiIn);
    connection.closeChild(first.tunnel.policy.id);
    await clock.advance(10_000);
    expect(connection.child!.tunnel).toBe(made.tunnel);
    expect(connection.child!.info.spiIn).not.toBe(made.info.spiIn);
    expect(accepted[0].child!.info.spiIn).toBe(connection.child!.info.spiOut);
  });

  it('that asks for a Child SA does not take one that the peer makes meanwhile for it', async () => {
    const { clock, connection, accepted } = await world(false);
    const outcomes = Promise.allSettled([
      connection.createChild({ tsI: [net('10.1.0.0/16')], tsR: [net('10.3.0.0/16')] }),
      // An initiator makes none for its responder.
      accepted[0].createChild({ tsI: [net('10.4.0.0/16')], tsR: [net('10.1.0.0/16')] }),
    ]);
    const [made, refused] = await clock.until(outcomes);
    expect(made).toMatchObject({ value: { tunnel: { policy: { remote: [net('10.3.0.0/16')] } } } });
    expect(refused).toMatchObject({ status: 'rejected', reason: expect.any(RefusedError) });
  });

  it('says why a Child SA cannot be made', async () => {
    const { clock, initiator, connection, selectors } = await world(false);
    await expect(clock.until(connection.createChild(selectors))).rejects.toThrow(LocalError);
    const foreign = { tsI: [net('10.9.0.0/16')], tsR: [net('10.2.0.0/16')] };
    await expect(clock.until(connection.createChild(foreign))).rejects.toThrow(RefusedError);
    const wanted = connection.createChild({ ...selectors, tsR: [net('10.3.0.0/16')] });
    await expect(connection.createChild(foreign)).rejects.toThrow('another Child SA is being made');
    await clock.until(Promise.all([wanted.catch(() => {}), initiator.close()]));
    await expect(clock.until(connection.createChild(foreign))).rejects.toThrow('closed');
  });
});
