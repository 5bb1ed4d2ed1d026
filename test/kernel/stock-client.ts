import { join } from 'node:path';
import { ipBatch } from '../../src/host/ip.ts';
import { type NetworkNamespace, openNamespace } from '../../src/host/namespace.ts';
import type { Address } from '../../src/wire/address.ts';
import type { ReceivedSection } from '../interop/daemons/vici.ts';
import type { Application } from './application.ts';
import { Charon } from './charon.ts';
import { CLIENT_ID, ESP_SUITE, IKE_SUITE, PUBLIC_SHARED_KEY, type RelayKeys } from './stock-relays.ts';
import { ADDRESSES, prepare, type RelayName, type World } from './world.ts';

/** What a layer of AES-GCM-16 over IPv4 leaves of an MTU: IP, ESP header, IV, padding to 4 octets, trailer, ICV. */
const fits = (mtu: number) => ((mtu - 52) & ~3) - 2;

export interface StockClientOptions {
  readonly root: string;
  readonly client: 'S' | 'T';
  readonly path: readonly RelayName[];
  readonly keys: Readonly<Record<RelayName, RelayKeys>>;
}

/** A hop: its SAs are in a network namespace, and its device in the next one, which has no other way out. */
export interface StockHop {
  readonly charon: Charon;
  readonly assigned: Address;
}

/** A telescope that strongSwan alone has built, a daemon for each hop. */
export interface StockClient extends Application {
  readonly hops: readonly StockHop[];
}

/** @throws DaemonError */
export async function openStockClient(world: World, options: StockClientOptions): Promise<StockClient> {
  const { client, path } = options;
  const opened: NetworkNamespace[] = [];
  const hops: StockHop[] = [];
  let namespace = world.nodes[client];
  let source = ADDRESSES[client].ip4;
  let mtu = 1500;
  for (const [index, relay] of path.entries()) {
    const number = index + 1;
    const charon = await Charon.start({
      root: options.root,
      namespace,
      directory: join(world.directory, `${client}-${number}`),
      files: {
        'swanctl.conf': swanctlConf(source, relay, number),
        [`pubkey/${relay}.pem`]: options.keys[relay].publicKey,
      },
    });
    await charon.initiate('hop');
    const assigned = assignedAddress(await charon.sas());
    hops.push({ charon, assigned });
    const next = await openNamespace();
    opened.push(next);
    prepare(next, false);
    mtu = fits(mtu);
    await ipBatch(
      [
        `link add hop${number} type vti local ${source} remote ${ADDRESSES[relay].ip4} key ${number}`,
        `link set hop${number} netns ${next.pid}`,
      ],
      { netns: namespace.pid },
    );
    await ipBatch(
      [
        `link set hop${number} up mtu ${mtu}`,
        `address add ${assigned}/32 dev hop${number}`,
        `route add default dev hop${number} src ${assigned}`,
      ],
      { netns: next.pid },
    );
    [namespace, source] = [next, assigned];
  }
  return {
    hops,
    pid: namespace.pid,
    addresses: [source],
    device: `hop${path.length}`,
    mtu,
    async close() {
      for (const { charon } of [...hops].reverse()) {
        await charon.ask('terminate', { ike: 'hop' });
        await charon.close();
      }
      for (const each of opened) await each.close();
    },
  };
}

function swanctlConf(source: Address, relay: RelayName, mark: number): string {
  return `
connections {
  hop {
    version = 2
    mobike = no
    local_addrs = ${source}
    remote_addrs = ${ADDRESSES[relay].ip4}
    vips = 0.0.0.0
    proposals = ${IKE_SUITE}
    local {
      auth = psk
      id = ${CLIENT_ID}
    }
    remote {
      auth = pubkey
      pubkeys = ${relay}.pem
      id = ${relay}
    }
    children {
      hop {
        local_ts = dynamic
        remote_ts = 0.0.0.0/0
        esp_proposals = ${ESP_SUITE}
        mark_in = ${mark}
        mark_out = ${mark}
      }
    }
  }
}
secrets {
  ike-public {
    secret = "${PUBLIC_SHARED_KEY}"
    id = ${CLIENT_ID}
  }
}
`;
}

function assignedAddress(sas: readonly ReceivedSection[]): Address {
  const [address] = sas.flatMap((ike) => (ike.hop as ReceivedSection)['local-vips'] as string[]);
  return address;
}
