import type { SigningKey } from '../crypto/provider.ts';
import type { RelayConfig } from '../relay/config.ts';
import { ConfigError } from '../relay/config-document.ts';
import type { KitFile } from './kit-file.ts';
import { libreswanFiles, libreswanNotes } from './libreswan.ts';
import { type Firewall, networkScript } from './network-script.ts';
import { ofFamily, overlayPlans } from './overlay-plan.ts';
import { type SharedKeyRelay, strongswanFiles, strongswanNotes } from './strongswan.ts';

/** What runs on the router. libreswan has no Ed25519, and needs another key. */
export type StockDaemon =
  | { readonly name: 'strongswan' }
  | { readonly name: 'libreswan'; readonly key: SigningKey };

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
export function relayKit(config: RelayConfig, { daemon, firewall, where }: KitOptions): readonly KitFile[] {
  refuse(config, where);
  const overlays = overlayPlans(config);
  const network = {
    path: 'ike-telescope-network',
    mode: 0o755,
    text: networkScript(config, overlays, firewall),
  };
  switch (daemon.name) {
    case 'strongswan': {
      const relay = withSharedKey(config, where);
      const notes = [...strongswanNotes(relay), ...commonNotes(config)];
      return [...strongswanFiles(relay, overlays, notes), network];
    }
    case 'libreswan': {
      refuseForLibreswan(config, where);
      const notes = [...libreswanNotes(config, daemon.key), ...commonNotes(config)];
      return [...libreswanFiles(config, daemon.key, notes), network];
    }
  }
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

/** @throws ConfigError */
function withSharedKey(config: RelayConfig, where: string): SharedKeyRelay {
  const { publicSharedKey } = config;
  if (publicSharedKey !== undefined) return { ...config, publicSharedKey };
  throw new ConfigError(
    `${where}: publicSharedKey: is missing; strongSwan has no NULL authentication, so clients show a key that everybody knows; ` +
      'write for example "publicSharedKey: anonymous"',
  );
}

/** @throws ConfigError */
function refuseForLibreswan({ own, peers }: RelayConfig, where: string): void {
  if (peers.length > 0) {
    throw new ConfigError(
      `${where}: peers: relays prove themselves by Ed25519 keys, which libreswan does not have, so it has no overlays, and is the ` +
        'only relay of a path; leave the list empty, or use strongSwan',
    );
  }
  for (const family of [4, 6] as const) {
    if (ofFamily(own.pools, family) === undefined || ofFamily(own.addresses, family) !== undefined) continue;
    throw new ConfigError(
      `${where}: pool.ip${family}: libreswan assigns addresses of the family that it is reached by; add address.ip${family}, or ` +
        'leave the pool out',
    );
  }
}

/** How a router differs from a relay of ours with the same relay.yaml, whatever runs on it. */
function commonNotes({ exit, maxClients, puzzles }: RelayConfig): readonly string[] {
  return [
    `* maxClients (${maxClients}): it stops when its pool is used up.`,
    `* puzzles (${puzzles.threshold}), and limits of half-open IKE SAs by network, neighbour or client of a neighbour.`,
    '* constant headers: TTL goes down by one, and identification and DSCP of the packets inside stay as they are.',
    '* dropping fragments and IP options of clients.',
    ...(exit === undefined || exit.kind === 'kernel'
      ? []
      : [`* exit.kind ${exit.kind}: the kernel translates addresses instead.`]),
  ];
}
