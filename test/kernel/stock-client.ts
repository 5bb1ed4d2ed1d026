import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ipBatch } from '../../src/host/ip.ts';
import { type NetworkNamespace, openNamespace } from '../../src/host/namespace.ts';
import { defaultChildProposals, defaultIkeProposals } from '../../src/ike/proposal.ts';
import { pem } from '../../src/stock/pem.ts';
import { strongswanProposals } from '../../src/stock/strongswan-proposals.ts';
import type { Address } from '../../src/wire/address.ts';
import type { ReceivedSection } from '../interop/daemons/vici.ts';
import type { Application } from './application.ts';
import { Charon } from './charon.ts';
import { PUBLIC_SHARED_KEY, type Relays, type RunningRelay } from './relays.ts';
import { ADDRESSES, prepare, type RelayName, type World } from './world.ts';

/** What a layer of AES-GCM-16 over IPv4 leaves of an MTU: IP, ESP header, IV, padding to 4 octets, trailer, ICV. */
const fits = (mtu: number) => ((mtu - 52) & ~3) - 2;

export interface StockClientOptions {
  readonly root: string;
  readonly client: 'S' | 'T';
  readonly path: readonly RelayName[];
  readonly relays: Relays;
}

/** A hop: its SAs are in a network namespace, and its device in the next one, which has no other way out. */
export interface StockHop {
  readonly charon: Charon;
  readonly source: Address;
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
    const etc = mkdtempSync(join(world.directory, `etc-${client}-${number}-`));
    write(etc, 'strongswan.d/client.conf', STRONGSWAN_CONF);
    write(etc, 'swanctl/conf.d/client.conf', swanctlConf(source, options.relays[relay], number));
    write(etc, 'swanctl/pubkey/relay.pem', pem('PUBLIC KEY', options.relays[relay].config.own.publicKey));
    const charon = await Charon.start({ root: options.root, namespace, etc });
    await charon.initiate('hop');
    const assigned = assignedAddress(await charon.sas());
    hops.push({ charon, source, assigned });
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

function write(etc: string, name: string, text: string): void {
  const file = join(etc, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** Addresses, routes and devices are ours to make. */
const STRONGSWAN_CONF = `charon {
  install_routes = no
  install_virtual_ip = no
  plugins {
    forecast { load = no }
    connmark { load = no }
    bypass-lan { load = no }
    kernel-libipsec { load = no }
  }
}
`;

/** What our own client would do, as far as strongSwan can. */
function swanctlConf(source: Address, { config }: RunningRelay, mark: number): string {
  const { own } = config;
  return `connections {
  hop {
    version = 2
    mobike = no
    local_addrs = ${source}
    remote_addrs = ${own.addresses.ip4}
    vips = 0.0.0.0
    proposals = ${strongswanProposals(defaultIkeProposals)}
    local {
      auth = psk
      id = keyid:anonymous
    }
    remote {
      auth = pubkey
      pubkeys = relay.pem
      id = "@#${own.keyId}"
    }
    children {
      hop {
        local_ts = dynamic
        remote_ts = 0.0.0.0/0
        esp_proposals = ${strongswanProposals(defaultChildProposals)}
        replay_window = 128
        mark_in = ${mark}
        mark_out = ${mark}
      }
    }
  }
}
secrets {
  ike {
    secret = "${PUBLIC_SHARED_KEY}"
    id = keyid:anonymous
  }
}
`;
}

function assignedAddress(sas: readonly ReceivedSection[]): Address {
  const [address] = sas.flatMap((ike) => (ike.hop as ReceivedSection)['local-vips'] as string[]);
  return address;
}
