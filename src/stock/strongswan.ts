import { lifetimes } from '../endpoint/lifetimes.ts';
import { defaultChildProposals, defaultIkeProposals } from '../ike/proposal.ts';
import type { Millis } from '../link/clock.ts';
import type { RelayConfig } from '../relay/config.ts';
import { present } from '../relay/families.ts';
import { encodeKeyFile } from '../relay/key-file.ts';
import { anyAddress, prefixText } from '../wire/address.ts';
import type { KitFile } from './kit-file.ts';
import { type OverlayPlan, ofFamily, overlayBlocks } from './overlay-plan.ts';
import { pem } from './pem.ts';
import { strongswanProposals } from './strongswan-proposals.ts';

/** How long a client and a peer may be silent until they are asked whether they are alive. */
const CLIENT_SILENCE: Millis = 60_000;
const PEER_SILENCE: Millis = 5_000;

/** What our own key's files are called. */
const OWN_KEY = 'ike-telescope.pem';

/** The file that holds the public key of the peer. */
function keyFileOf({ device }: OverlayPlan): string {
  return `ike-telescope-${device}.pem`;
}

/** A relay.yaml with a key that everybody knows. */
export type SharedKeyRelay = RelayConfig & { readonly publicSharedKey: string };

/** Everything that strongSwan needs. @param notes - what to say of it */
export function strongswanFiles(
  config: SharedKeyRelay,
  overlays: readonly OverlayPlan[],
  notes: readonly string[],
): readonly KitFile[] {
  const publicKey = (name: string, spki: Uint8Array) => ({
    path: `swanctl/pubkey/${name}`,
    mode: 0o644,
    text: pem('PUBLIC KEY', spki),
  });
  return [
    {
      path: 'swanctl/conf.d/ike-telescope.conf',
      mode: 0o600,
      text: swanctlConf(config, overlays, notes),
    },
    { path: 'strongswan.d/ike-telescope.conf', mode: 0o644, text: strongswanConf(config) },
    { path: `swanctl/private/${OWN_KEY}`, mode: 0o600, text: encodeKeyFile(config.key) },
    publicKey(OWN_KEY, config.own.publicKey),
    ...overlays.map((overlay) => publicKey(keyFileOf(overlay), overlay.publicKey)),
  ];
}

/** What to know of the router; a list follows of what it cannot do. */
export function strongswanNotes({ own, publicSharedKey }: SharedKeyRelay): readonly string[] {
  return [
    `Relay ${own.name} on a router that runs strongSwan 5.9 or later. Made by "ike-telescope relay-config".`,
    '',
    'Clients name it in their path files with its descriptor ("ike-telescope relay --descriptor") and the key for everybody:',
    `  - descriptor: ${own.name}.yaml`,
    `    publicSharedKey: ${JSON.stringify(publicSharedKey)}`,
    'Relays, of either kind, list its descriptor among their peers.',
    '',
    'What it cannot do, and a relay of ours can:',
    '* NULL authentication: a client that does not know the key above is refused.',
  ];
}

/** swanctl.conf: the clients' connection, and one for each overlay. @param notes - lines for the top of it */
function swanctlConf(
  config: SharedKeyRelay,
  overlays: readonly OverlayPlan[],
  notes: readonly string[],
): string {
  const { own, dns, publicSharedKey } = config;
  const pools = ([4, 6] as const).flatMap((family) => {
    const pool = ofFamily(own.pools, family);
    return pool === undefined ? [] : [{ family, name: `ike-telescope-ip${family}`, pool: prefixText(pool) }];
  });
  const local = `    local {
      auth = pubkey
      pubkeys = ${OWN_KEY}
      id = "@#${own.keyId}"
    }`;
  const here = `    version = 2
    mobike = no
    local_addrs = ${present(own.addresses).join(', ')}
    proposals = ${strongswanProposals(defaultIkeProposals)}
    send_certreq = no
    ${ikeLifetime}`;
  return `${notes.map((line) => `# ${line}`.trimEnd()).join('\n')}

connections {
  # Clients: from anywhere, also out of overlays. All have one identity and one key, which everybody knows.
  ike-telescope {
${here}
    remote_addrs = %any
    unique = never
    pools = ${pools.map(({ name }) => name).join(', ')}
    dpd_delay = ${seconds(CLIENT_SILENCE)}
${local}
    remote {
      auth = psk
      id = keyid:anonymous
    }
    children {
      ike-telescope {
        local_ts = ${pools.map(({ family }) => `${anyAddress(family)}/0`).join(', ')}
        remote_ts = dynamic
        ${CHILD}
      }
    }
  }
${overlays.map((overlay) => overlayConnection(overlay, here, local)).join('')}}
pools {
${pools
  .map(({ family, name, pool }) => {
    const servers = dns.filter((server) => server.includes(':') === (family === 6));
    return `  ${name} {
    addrs = ${pool}${servers.length === 0 ? '' : `\n    dns = ${servers.join(', ')}`}
  }
`;
  })
  .join('')}}
secrets {
  # publicSharedKey, in base64
  ike-telescope {
    secret = 0s${Buffer.from(publicSharedKey).toString('base64')}
    id = keyid:anonymous
  }
}
`;
}

function overlayConnection(overlay: OverlayPlan, here: string, local: string): string {
  const { peer, keyId, device, mark, remote } = overlay;
  const blocks = overlayBlocks(overlay);
  return `  # Relay ${peer}: whatever it runs, it proves the key of its descriptor.
  ike-telescope-${device} {
${here.replace(/local_addrs = .*/, `local_addrs = ${overlay.local}`)}
    remote_addrs = ${remote}
    dpd_delay = ${seconds(PEER_SILENCE)}
${local}
    remote {
      auth = pubkey
      pubkeys = ${keyFileOf(overlay)}
      id = "@#${keyId}"
    }
    children {
      ike-telescope-${device} {
        local_ts = ${blocks.local.map(prefixText).join(', ')}
        remote_ts = ${blocks.remote.map(prefixText).join(', ')}
        mark_in = ${mark}
        mark_out = ${mark}
        start_action = trap
        close_action = trap
        dpd_action = restart
        ${CHILD}
      }
    }
  }
`;
}

/** strongswan.conf: what is not of one connection but of the daemon. */
function strongswanConf({ cookieThreshold, maxHalfOpen, maxHalfOpenPer }: RelayConfig): string {
  return `charon {
  # Routes are made by the script, and packets find the overlays by them.
  install_routes = no
  send_vendor_id = no
  cisco_unity = no
  # A relay that does not answer is given up after 16 seconds.
  retransmit_timeout = 1
  retransmit_base = 1.4
  retransmit_tries = 5
  cookie_threshold = ${Math.max(1, cookieThreshold)}
  init_limit_half_open = ${maxHalfOpen}
  block_threshold = ${maxHalfOpenPer.address}
  plugins {
    # Those that mark packets, let some pass without IPsec, or take ESP from the kernel.
    forecast { load = no }
    connmark { load = no }
    bypass-lan { load = no }
    kernel-libipsec { load = no }
  }
}
`;
}

const { ikeLifetime: ike, childLifetime: child } = lifetimes;

const ikeLifetime = `rekey_time = ${seconds(ike.soft)}
    over_time = ${seconds(ike.hard - ike.soft)}
    rand_time = ${seconds(ike.jitter)}`;

/** What all Child SAs have in common: nothing is copied between inner and outer headers but DF. */
const CHILD = `esp_proposals = ${strongswanProposals(defaultChildProposals)}
        copy_ecn = no
        copy_dscp = no
        replay_window = 128
        rekey_time = ${seconds(child.soft)}
        life_time = ${seconds(child.hard)}
        rand_time = ${seconds(child.jitter)}`;

function seconds(time: Millis): string {
  return `${time / 1000}s`;
}
