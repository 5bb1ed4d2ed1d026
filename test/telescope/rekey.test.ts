import { expect, it } from 'vitest';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { BackendFactory, SaEvent, SaParameters } from '../../src/link/sa-store.ts';
import { userSpaceHops } from '../../src/telescope/backend.ts';
import { openUdp } from '../../src/telescope/udp.ts';
import { DESTINATION, TelescopeWorld } from '../support/sim-telescope.ts';

/** A data plane that can be made to say that its SAs have carried enough. */
class Ripening {
  readonly #inbound = new Map<string, SaParameters>();
  #tell: (event: SaEvent) => void = () => {};
  /** How often SAs were installed under a policy that had some. */
  replacements = 0;

  readonly factory: BackendFactory = (sendEsp, onUnknownSpi, onSaEvent) => {
    const tell = this.#tell;
    this.#tell = (event) => {
      tell(event);
      onSaEvent(event);
    };
    const backend = userSpaceBackend(nodeProvider())(sendEsp, onUnknownSpi, onSaEvent);
    return Object.assign(Object.create(backend) as typeof backend, {
      name: backend.name,
      tunnel: (id: string) => backend.tunnel(id),
      receive: (...args: Parameters<typeof backend.receive>) => backend.receive(...args),
      close: () => backend.close(),
      apply: (operations: Parameters<typeof backend.apply>[0]) => {
        for (const operation of operations) {
          if (operation.kind !== 'inbound') continue;
          const { id } = operation.sa.tunnel;
          if (this.#inbound.has(id)) this.replacements++;
          this.#inbound.set(id, operation.sa);
        }
        return backend.apply(operations);
      },
    });
  };

  /** Every tunnel's SAs are to be rekeyed, by us. */
  ripen(): number {
    for (const { spi, tunnel } of this.#inbound.values())
      this.#tell({ kind: 'soft', direction: 'inbound', spi, tunnelId: tunnel.id });
    return this.#inbound.size;
  }
}

it('loses no packet when every layer is rekeyed, by the client, by the relays, and by both', async () => {
  const client = new Ripening();
  const relays = new Map(['a', 'b', 'c'].map((name) => [name, new Ripening()]));
  const world = await TelescopeWorld.open({
    relayOptions: (name) => ({ backend: relays.get(name)!.factory }),
  });
  const telescope = await world.build({ backend: userSpaceHops(client.factory) });
  const udp = openUdp(telescope, 4_321);
  const received = new Set<string>();
  udp.onMessage((message) => received.add(new TextDecoder().decode(message)));
  let sent = 0;
  const stream = async (packets: number) => {
    for (let i = 0; i < packets; i++) {
      udp.send(new TextEncoder().encode(`packet ${sent++}`), { address: DESTINATION, port: 7 });
      await world.clock.advance(3);
    }
  };
  const spis = () => telescope.hops.map(({ connection }) => connection.child?.info.spiIn);
  const tunnels = telescope.hops.map(({ connection }) => connection.child?.tunnel);
  const everybody = [client, ...relays.values()];
  await stream(50);
  for (const ripe of [[client], [...relays.values()], everybody, everybody]) {
    const before = spis();
    for (const host of ripe) expect(host.ripen()).toBeGreaterThan(0);
    await stream(150);
    for (const [hop, spi] of spis().entries()) expect(spi).not.toBe(before[hop]);
    await world.clock.advance(10_000);
  }
  await world.clock.advance(1_000);
  expect(received.size).toBe(sent);
  expect(telescope.hops.map(({ connection }) => connection.child?.tunnel)).toEqual(tunnels);
  for (const { replacements } of everybody) expect(replacements).toBeGreaterThanOrEqual(4);
  expect(world.clients()).toEqual([1, 1, 1]);
  await world.clock.until(telescope.close());
  await world.clock.advance(10_000);
  expect(world.clients()).toEqual([0, 0, 0]);
});

it('loses no packet in ninety minutes in which every end rekeys by itself', async () => {
  const world = await TelescopeWorld.open();
  world.relays.network.eavesdropping = false;
  const telescope = await world.build();
  const udp = openUdp(telescope, 4_321);
  let received = 0;
  udp.onMessage(() => received++);
  const seen = telescope.hops.map(() => new Set<number>());
  const SECONDS = 90 * 60;
  for (let second = 0; second < SECONDS; second += 15) {
    udp.send(new Uint8Array(64), { address: DESTINATION, port: 7 });
    await world.clock.advance(15_000);
    for (const [hop, { connection }] of telescope.hops.entries()) seen[hop].add(connection.child!.info.spiIn);
  }
  expect(received).toBe(SECONDS / 15);
  for (const spis of seen) expect(spis.size).toBeGreaterThan(1);
  await world.clock.until(telescope.close());
});
