import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { CryptoProvider, SigningKey } from '../../src/crypto/provider.ts';
import type { RelayDescriptor } from '../../src/descriptor/descriptor.ts';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import type { InitiatorConfig } from '../../src/ike/config.ts';
import { IdType } from '../../src/ike/constants.ts';
import { defaultChildProposals, defaultIkeProposals } from '../../src/ike/proposal.ts';
import type { Address } from '../../src/wire/address.ts';
import { fromHex } from '../../src/wire/bytes.ts';
import type { TrafficSelector } from '../../src/wire/traffic-selector.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import type { RelayNetwork } from '../support/sim-relays.ts';

/** An initiator that asks a relay for whatever a test wants, and accepts whatever it gets. */
export function buildInitiator(
  crypto: CryptoProvider,
  relay: RelayDescriptor,
  ask: {
    readonly tsI: readonly TrafficSelector[];
    readonly tsR: readonly TrafficSelector[];
    /** Absent: NULL authentication. */
    readonly key?: SigningKey;
    readonly keyId?: string;
    /** Asks for an IPv4 address. */
    readonly address?: boolean;
  },
): InitiatorConfig {
  const { key, keyId = '', tsI, tsR, address } = ask;
  return {
    crypto,
    ikeProposals: defaultIkeProposals,
    childProposals: defaultChildProposals,
    retransmission: { first: 500, factor: 2, cap: 2_000, tries: 5 },
    local:
      key === undefined
        ? { kind: 'null' }
        : {
            kind: 'signature',
            identity: { type: IdType.ID_KEY_ID, data: fromHex(keyId) },
            key,
            sendKey: true,
          },
    remote: { kind: 'signature', publicKey: relay.publicKey },
    child: {
      tsI,
      tsR,
      ...(address && { addresses: { ip4: true, ip6: false, ip4Dns: false, ip6Dns: false } }),
    },
    acceptChild: () => undefined,
    initialContact: false,
    natDetection: false,
  };
}

export interface Client {
  readonly endpoint: Endpoint;
  readonly connection: IkeConnection;
}

/** An anonymous client of a relay, from an address of its own; rejects if it does not get a Child SA. */
export async function connectClient(relays: RelayNetwork, relay: string, address: Address): Promise<Client> {
  const { endpoint, connecting } = await dialClient(relays, relay, address);
  return { endpoint, connection: await relays.clock.until(connecting) };
}

/** `connectClient` that does not wait. */
export async function dialClient(
  relays: RelayNetwork,
  relay: string,
  address: Address,
): Promise<{ readonly endpoint: Endpoint; readonly connecting: Promise<IkeConnection> }> {
  const link = relays.client(`client-${address}`, address, [relay]);
  const crypto = nodeProvider();
  const { own } = relays.configs.get(relay)!;
  const endpoint = await Endpoint.open({
    link,
    backend: userSpaceBackend(crypto),
    crypto,
    clock: relays.clock,
  });
  const any = [anySelector(4)];
  const config = buildInitiator(crypto, own, { tsI: any, tsR: any, address: true });
  return { endpoint, connecting: endpoint.connect(config, link.origin(own.addresses.ip4!, false)) };
}
