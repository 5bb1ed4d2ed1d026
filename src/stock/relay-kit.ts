import type { RelayConfig } from '../relay/config.ts';
import { ConfigError } from '../relay/config-document.ts';
import { encodeKeyFile } from '../relay/key-file.ts';
import { type Firewall, networkScript } from './network-script.ts';
import { type OverlayPlan, overlayPlans } from './overlay-plan.ts';
import { pem } from './pem.ts';
import { keyFileOf, OWN_KEY, strongswanConf, swanctlConf } from './strongswan.ts';

/** A file of a router's configuration. */
export interface KitFile {
  /** Where it belongs, below /etc. */
  readonly path: string;
  readonly mode: number;
  readonly text: string;
}

/** What runs on the router. */
export const DAEMONS = ['strongswan'] as const;
export type StockDaemon = (typeof DAEMONS)[number];

export interface KitOptions {
  readonly daemon: StockDaemon;
  readonly firewall: Firewall;
  /** relay.yaml's name, for error messages. */
  readonly where: string;
}

/**
 * The whole configuration of a router that is a relay and runs none of our software.
 * @throws ConfigError if the configuration asks for what such a router cannot do
 */
export function relayKit(config: RelayConfig, options: KitOptions): readonly KitFile[] {
  const { publicSharedKey } = config;
  if (publicSharedKey === undefined) {
    throw new ConfigError(
      `${options.where}: publicSharedKey: is missing; strongSwan has no NULL authentication, so clients show a key that ` +
        'everybody knows; write for example "publicSharedKey: anonymous"',
    );
  }
  refuse(config, options.where);
  const overlays = overlayPlans(config);
  return [
    {
      path: 'swanctl/conf.d/ike-telescope.conf',
      mode: 0o600,
      text: swanctlConf({ ...config, publicSharedKey }, overlays, notes(config)),
    },
    { path: 'strongswan.d/ike-telescope.conf', mode: 0o644, text: strongswanConf(config) },
    { path: `swanctl/private/${OWN_KEY}`, mode: 0o600, text: encodeKeyFile(config.key) },
    ...publicKeys(config, overlays),
    {
      path: 'ike-telescope-network',
      mode: 0o755,
      text: networkScript(config, overlays, options.firewall),
    },
  ];
}

function publicKeys({ own }: RelayConfig, overlays: readonly OverlayPlan[]): readonly KitFile[] {
  const file = (name: string, publicKey: Uint8Array) => ({
    path: `swanctl/pubkey/${name}`,
    mode: 0o644,
    text: pem('PUBLIC KEY', publicKey),
  });
  return [
    file(OWN_KEY, own.publicKey),
    ...overlays.map((overlay) => file(keyFileOf(overlay), overlay.publicKey)),
  ];
}

/** @throws ConfigError */
function refuse({ encapsulatedOnly, ikePort, encapsulatedPort }: RelayConfig, where: string): void {
  if (encapsulatedOnly) {
    throw new ConfigError(
      `${where}: encapsulation: is for relays without raw sockets, and a router's kernel has ESP; leave the key out`,
    );
  }
  if (ikePort !== 500 || encapsulatedPort !== 4500) {
    throw new ConfigError(
      `${where}: ikePort, encapsulatedPort: a stock router answers on 500 and 4500; leave them out`,
    );
  }
}

/** How the router differs from a relay of ours with the same relay.yaml. */
function notes({ own, exit, maxClients, puzzles, publicSharedKey }: RelayConfig): readonly string[] {
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
    `* maxClients (${maxClients}): it stops when its pool is used up.`,
    `* puzzles (${puzzles.threshold}) and limits of half-open IKE SAs but those of an address and of all.`,
    '* constant headers: TTL goes down by one, and identification and DSCP of the packets inside stay as they are.',
    '* dropping fragments and IP options of clients.',
    ...(exit === undefined || exit.kind === 'kernel'
      ? []
      : [`* exit.kind ${exit.kind}: the kernel translates addresses instead.`]),
  ];
}
