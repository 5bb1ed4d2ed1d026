import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { run } from '../../src/host/command.ts';
import { ipBatch } from '../../src/host/ip.ts';
import { Charon } from './charon.ts';
import { ADDRESSES, POOLS, RELAYS, type RelayName, type World } from './world.ts';

/** The key of a relay, PEM. */
export interface RelayKeys {
  readonly privateKey: string;
  readonly publicKey: string;
}

export function newRelayKeys(): RelayKeys {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/** What every client shows, and calls itself. */
export const PUBLIC_SHARED_KEY = 'anonymous';
export const CLIENT_ID = 'keyid:anonymous';

export const IKE_SUITE = 'aes128gcm16-prfsha256-x25519';
export const ESP_SUITE = 'aes128gcm16';

/** The largest packet in an overlay tunnel on links of 1500. */
const OVERLAY_MTU = 1446;

/** A number for each pair: the mark of the overlay tunnel between them. */
function overlayNumber(a: RelayName, b: RelayName): number {
  return ['AB', 'BC', 'AC'].indexOf([a, b].sort().join('')) + 1;
}

export interface StockRelayOptions {
  readonly root: string;
  readonly name: RelayName;
  readonly peers: readonly RelayName[];
  readonly keys: Readonly<Record<RelayName, RelayKeys>>;
}

/** A relay that is a Linux router with strongSwan, and none of our software. */
export async function startStockRelay(world: World, options: StockRelayOptions): Promise<Charon> {
  const { root, name, peers, keys } = options;
  const namespace = world.nodes[name];
  await ipBatch(devices(name, peers), { netns: namespace.pid });
  await run(['iptables-legacy-restore', '-w'], { netns: namespace.pid, input: firewall(name) });
  return Charon.start({
    root,
    namespace,
    directory: join(world.directory, name),
    files: {
      'swanctl.conf': swanctlConf(name, peers),
      [`private/${name}.pem`]: keys[name].privateKey,
      ...Object.fromEntries([name, ...peers].map((each) => [`pubkey/${each}.pem`, keys[each].publicKey])),
    },
  });
}

/** A, B and C, with overlay tunnels between all of them, which are up. @throws DaemonError */
export async function startStockRelays(
  world: World,
  root: string,
): Promise<{
  readonly keys: Readonly<Record<RelayName, RelayKeys>>;
  readonly relays: Readonly<Record<RelayName, Charon>>;
}> {
  const keys = { A: newRelayKeys(), B: newRelayKeys(), C: newRelayKeys() };
  const relays = {} as Record<RelayName, Charon>;
  for (const name of RELAYS) {
    const peers = RELAYS.filter((peer) => peer !== name);
    relays[name] = await startStockRelay(world, { root, name, peers, keys });
  }
  await relays.A.initiate('overlay-B');
  await relays.A.initiate('overlay-C');
  await relays.B.initiate('overlay-C');
  return { keys, relays };
}

/** The entry of a path file for a relay without our software. */
export function stockHop(name: RelayName, keys: Readonly<Record<RelayName, RelayKeys>>): object {
  const [, base64] = /-----\n([^-]*)-----/.exec(keys[name].publicKey)!;
  return {
    stock: {
      name,
      publicKey: base64.replaceAll('\n', ''),
      addresses: { ip4: ADDRESSES[name].ip4 },
      pools: { ip4: POOLS[name].ip4 },
      publicSharedKey: PUBLIC_SHARED_KEY,
    },
  };
}

function devices(name: RelayName, peers: readonly RelayName[]): string[] {
  const own = ADDRESSES[name].ip4;
  return [
    `rule add pref 100 from ${POOLS[name].ip4} lookup 100`,
    ...peers.flatMap((peer) => {
      const device = `overlay${peer}`;
      const { ip4 } = ADDRESSES[peer];
      return [
        `link add ${device} type vti local ${own} remote ${ip4} key ${overlayNumber(name, peer)}`,
        `link set ${device} up mtu ${OVERLAY_MTU}`,
        `route add ${POOLS[peer].ip4} dev ${device} src ${own}`,
        `route add ${ip4} dev ${device} table 100`,
      ];
    }),
  ];
}

/** Nothing to a client but in its tunnel; an exit for its own clients. */
function firewall(name: RelayName): string {
  const pool = POOLS[name].ip4;
  return [
    '*filter',
    ...['FORWARD', 'OUTPUT'].map((chain) => `-A ${chain} -d ${pool} -m policy --dir out --pol none -j DROP`),
    'COMMIT',
    '*nat',
    `-A POSTROUTING -s ${pool} -o eth0 -m policy --dir out --pol none -j MASQUERADE`,
    'COMMIT',
    '',
  ].join('\n');
}

function swanctlConf(name: RelayName, peers: readonly RelayName[]): string {
  const own = `local_addrs = ${ADDRESSES[name].ip4}
    version = 2
    mobike = no
    proposals = ${IKE_SUITE}
    local {
      auth = pubkey
      pubkeys = ${name}.pem
      id = ${name}
    }`;
  const overlays = peers.map((peer) => {
    const mark = overlayNumber(name, peer);
    return `
  overlay-${peer} {
    ${own}
    remote_addrs = ${ADDRESSES[peer].ip4}
    remote {
      auth = pubkey
      pubkeys = ${peer}.pem
      id = ${peer}
    }
    children {
      overlay-${peer} {
        local_ts = ${POOLS[name].ip4},${ADDRESSES[name].ip4}/32
        remote_ts = ${POOLS[peer].ip4},${ADDRESSES[peer].ip4}/32
        esp_proposals = ${ESP_SUITE}
        mark_in = ${mark}
        mark_out = ${mark}
        start_action = trap
      }
    }
  }`;
  });
  return `
connections {${overlays.join('')}
  clients {
    ${own}
    remote_addrs = %any
    unique = never
    pools = clients
    remote {
      auth = psk
      id = ${CLIENT_ID}
    }
    children {
      clients {
        local_ts = 0.0.0.0/0
        remote_ts = dynamic
        esp_proposals = ${ESP_SUITE}
      }
    }
  }
}
pools {
  clients {
    addrs = ${POOLS[name].ip4}
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
