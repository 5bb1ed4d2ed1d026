import { expect, it } from 'vitest';
import { dryRun } from '../../src/backend/dry-run.ts';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import { ExchangeType } from '../../src/ike/constants.ts';
import { peekHeader } from '../../src/ike/message.ts';
import type { BackendFactory } from '../../src/link/sa-store.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { hex } from '../../src/wire/bytes.ts';
import { anySelector, prefixSelector } from '../../src/wire/traffic-selector.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { testCrypto } from '../support/pair.ts';
import { SimNetwork } from '../support/sim-network.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

/** Octets of the IPv4 and UDP headers before an IKE message. */
const HEADERS = 28;
const ANY = [anySelector(4)];

/** A backend that takes a second for every SA that it installs. */
function slow(backend: BackendFactory, clock: VirtualClock): BackendFactory {
  return (...handlers) => {
    const inner = backend(...handlers);
    const apply = inner.apply.bind(inner);
    inner.apply = async (operations) => {
      const isInstalling = operations.some(({ kind }) => kind === 'inbound' || kind === 'outbound');
      if (isInstalling) await new Promise<void>((done) => clock.at(clock.now() + 1_000, done));
      return apply(operations);
    };
    return inner;
  };
}

async function connected() {
  const { provider: crypto } = testCrypto(29);
  const relay = sharedKey('relay');
  const clock = new VirtualClock();
  const network = new SimNetwork(clock);
  const [here, there] = [network.host('i', '198.51.100.1'), network.host('r', '198.51.100.2')];
  network.join('i', 'r');
  const initiator = await Endpoint.open({
    link: here,
    backend: slow(dryRun().backend, clock),
    crypto,
    clock,
  });
  const responder = await Endpoint.open({ link: there, backend: dryRun().backend, crypto, clock });
  const answered: IkeConnection[] = [];
  const { assigner, ...profile } = anonymousProfile(relay);
  responder.listen({
    config: responderConfig(crypto, { ...profile, tsRemote: ANY, maxChildren: 2 }),
    cookieThreshold: 100,
    maxHalfOpen: 8,
    onChild: (connection) => void answered.push(connection),
    onClosed: () => {},
  });
  const retransmission = { first: 500, factor: 2, cap: 4_000, tries: 30 };
  const config = { ...initiatorConfig(crypto, relay), child: { tsI: ANY, tsR: ANY }, retransmission };
  const connection = await clock.until(initiator.connect(config, here.origin('198.51.100.2', false)));
  return { clock, network, connection, peer: answered[0] };
}

it('a liveness check ends also if it begins when an exchange is over but for what is to be installed', async () => {
  const { clock, connection } = await connected();
  const tsR = [prefixSelector(parsePrefix('10.2.0.0/16'))];
  const making = connection.createChild({ tsI: ANY, tsR });
  await clock.advance(500);
  const { roundTrips } = connection;
  const check = connection.checkLiveness();
  await clock.until(making);
  expect(await clock.until(check)).toBe(true);
  expect(connection.roundTrips).toBe(roundTrips + 1);
});

it('a liveness check is made again if its request goes with an IKE SA that the peer has replaced', async () => {
  const { clock, network, connection, peer } = await connected();
  const spis: string[] = [];
  network.setFault('i', 'r', ({ from, bytes }) => {
    const { spiI, flags, exchangeType } = peekHeader(bytes.subarray(HEADERS))!;
    if (from !== 'i' || flags.response || exchangeType !== ExchangeType.INFORMATIONAL) return [0];
    spis.push(hex(spiI));
    return spis[0] === hex(spiI) ? [] : [0];
  });
  const check = connection.checkLiveness();
  await clock.advance(10);
  peer.rekey();
  expect(await clock.until(check)).toBe(true);
  expect(new Set(spis).size).toBe(2);
});
