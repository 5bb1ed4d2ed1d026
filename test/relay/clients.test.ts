import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { InitiatorConfig } from '../../src/ike/config.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { RefusedError } from '../../src/ike/errors.ts';
import { IkeLineage } from '../../src/ike/lineage.ts';
import type { IkeEvent } from '../../src/ike/output.ts';
import type { Attachment, Origin } from '../../src/link/link.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import type { SimHost } from '../support/sim-network.ts';
import { RelayNetwork, relayAddress } from '../support/sim-relays.ts';
import { buildInitiator, type Client, connectClient } from './initiator.ts';

const crypto = nodeProvider();
const any = [anySelector(4)];

async function oneRelay(more = '', pool?: string): Promise<RelayNetwork> {
  const relays = new RelayNetwork([{ name: 'a', number: 1, pool, more }]);
  await relays.start('a');
  return relays;
}

function state(relays: RelayNetwork) {
  return relays.relay('a').state();
}

let clients = 0;

/** A client with an address of its own; rejects if it does not get a Child SA. */
function connect(relays: RelayNetwork): Promise<Client> {
  return connectClient(relays, 'a', `198.51.100.${++clients}`);
}

/** An IKE SA by itself: unlike an endpoint it does not leave when it gets no Child SA. */
class BareClient {
  readonly events: IkeEvent[] = [];
  readonly #relays: RelayNetwork;
  readonly #ike: IkeLineage;
  #attachment!: Attachment;
  #spi = 1000;

  constructor(relays: RelayNetwork, config: InitiatorConfig, to: Origin) {
    this.#relays = relays;
    this.#ike = IkeLineage.initiate(config, to, relays.clock.now());
  }

  static async start(relays: RelayNetwork, address: boolean): Promise<BareClient> {
    const host: SimHost = relays.client(`bare-${++clients}`, `198.51.100.${clients}`, ['a']);
    const config = buildInitiator(crypto, relays.configs.get('a')!.own, { tsI: any, tsR: any, address });
    const client = new BareClient(relays, config, host.origin(relayAddress(1), false));
    client.#attachment = await host.attach({
      ike: (message, origin) => {
        client.#ike.handleDatagram(message, origin, relays.clock.now());
        client.#drain();
      },
      esp: () => {},
    });
    client.#drain();
    await relays.clock.advance(1_000);
    return client;
  }

  #drain(): void {
    for (let output = this.#ike.poll(); output !== undefined; output = this.#ike.poll()) {
      if (output.kind === 'transmit') this.#attachment.sendIke(output.message, output.to);
      if (output.kind === 'event') this.events.push(output.event);
      if (output.kind === 'operation') {
        const spi = output.operation.kind === 'reserve' ? this.#spi++ : 0;
        this.#ike.handleCompleted(output.id, { ok: true, spi }, this.#relays.clock.now());
      }
    }
  }

  /** The error notify for the Child SA, if the IKE SA was established without one. */
  get refusal(): number | undefined {
    const [established, failed] = this.events;
    if (established?.type !== 'established' || failed?.type !== 'child-failed') return undefined;
    return failed.error instanceof RefusedError ? failed.error.notify : undefined;
  }
}

describe('anonymous clients of a relay', () => {
  it('get an address of the pool, and appear in the state with it', async () => {
    const relays = await oneRelay();
    const { connection } = await connect(relays);
    const { info } = connection.child!;
    expect(info.assigned!.ip4).toMatch(/^10\.1\./);
    expect(state(relays).clients).toEqual([
      {
        id: '1',
        address: `198.51.100.${clients}`,
        assigned: info.assigned,
        spiIn: info.spiOut,
        spiOut: info.spiIn,
      },
    ]);
  });

  it('without a Child SA are closed after 30 seconds', async () => {
    const relays = await oneRelay();
    const client = await BareClient.start(relays, false);
    expect(client.refusal).toBe(NotifyType.FAILED_CP_REQUIRED);
    await relays.clock.advance(28_000);
    expect(state(relays).ikeSas).toBe(1);
    await relays.clock.advance(2_000);
    expect(state(relays).ikeSas).toBe(0);
    expect(client.events.at(-1)).toEqual({ type: 'closed' });
  });

  it('get INTERNAL_ADDRESS_FAILURE, and keep the IKE SA, when the pool is exhausted', async () => {
    const relays = await oneRelay('', '10.1.0.0/30');
    await connect(relays);
    await connect(relays);
    const third = await BareClient.start(relays, true);
    expect(third.refusal).toBe(NotifyType.INTERNAL_ADDRESS_FAILURE);
    expect(state(relays)).toMatchObject({ ikeSas: 3, clients: [{}, {}] });
    expect(third.events.some(({ type }) => type === 'closed')).toBe(false);
  });

  it('get INTERNAL_ADDRESS_FAILURE when there are as many as there may be, until one leaves', async () => {
    const relays = await oneRelay('maxClients: 1');
    const first = await connect(relays);
    await expect(connect(relays)).rejects.toThrow('INTERNAL_ADDRESS_FAILURE');
    await relays.clock.until(first.endpoint.close());
    await connect(relays);
  });

  it('give their address back when they leave', async () => {
    const relays = await oneRelay('', '10.1.0.0/32');
    const first = await connect(relays);
    await expect(connect(relays)).rejects.toThrow('INTERNAL_ADDRESS_FAILURE');
    await relays.clock.until(first.endpoint.close());
    expect(state(relays)).toMatchObject({ clients: [], ikeSas: 0 });
    const second = await connect(relays);
    expect(second.connection.child!.info.assigned!.ip4).toBe('10.1.0.0');
  });

  it('give their address back when they vanish', async () => {
    const relays = await oneRelay('', '10.1.0.0/32');
    await connect(relays);
    relays.network.remove(`client-198.51.100.${clients}`);
    await relays.clock.advance(90_000);
    expect(state(relays)).toMatchObject({ clients: [], ikeSas: 0 });
    await connect(relays);
  });

  it('that are silent but alive stay', async () => {
    const relays = await oneRelay();
    await connect(relays);
    await relays.clock.advance(600_000);
    expect(state(relays).clients).toHaveLength(1);
  });

  it('are told when the relay closes', async () => {
    const relays = await oneRelay();
    const { connection } = await connect(relays);
    await relays.clock.until(relays.relay('a').close());
    expect(await relays.clock.until(connection.closed)).toBeUndefined();
  });

  it('must return a cookie when many are half open', async () => {
    const relays = await oneRelay('cookieThreshold: 0');
    const { connection } = await connect(relays);
    expect(connection.roundTrips).toBe(3); // IKE_SA_INIT, again with the cookie, IKE_AUTH
  });
});
