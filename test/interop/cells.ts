import { AUTHENTICATIONS, type AuthenticationName } from './authentications.ts';
import { type Lack, lackOf } from './daemons/capabilities.ts';
import { DAEMONS, type DaemonName, type Suites } from './daemons/daemon.ts';
import type { Feature } from './feature.ts';
import { FEATURES, type FeatureName } from './features.ts';

/** One run: our end in a role against a daemon, with one way to prove who is who, one suite, and one thing to see. */
export interface Cell {
  /** Unique: "strongswan-5.9 responder: COOKIE". */
  readonly id: string;
  readonly daemon: DaemonName;
  /** Ours. */
  readonly role: 'initiator' | 'responder';
  readonly authentication: AuthenticationName;
  readonly suites: Suites;
  readonly feature: FeatureName;
  /** The daemon cannot do it. */
  readonly lack?: Lack;
}

const ROLES = ['initiator', 'responder'] as const;

/** What every telescope hop uses first. */
const USUAL: Suites = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' };

/** Besides the usual one. */
const SUITES: readonly Suites[] = [
  { ike: 'aes256gcm16-prfsha384-ecp384', esp: 'aes256gcm16' },
  { ike: 'aes128gcm8-prfsha256-x25519', esp: 'aes128gcm8' },
  { ike: 'aes128gcm12-prfsha512-x25519', esp: 'aes128gcm12' },
  { ike: 'chacha20poly1305-prfsha256-x25519', esp: 'chacha20poly1305' },
  { ike: 'aes128ccm16-prfsha256-ecp256', esp: 'aes128ccm16' },
  { ike: 'aes128-sha256-prfsha256-modp2048', esp: 'aes128-sha256' },
  { ike: 'aes192-sha384-prfsha384-modp3072', esp: 'aes192-sha384' },
  { ike: 'aes256-sha512-prfsha512-ecp521', esp: 'aes256-sha512' },
  { ike: 'aes256-sha1-prfsha1-modp4096', esp: 'aes256-sha1' },
  { ike: 'aes128-sha256-prfaesxcbc-x25519', esp: 'null-sha256' },
  { ike: 'aes128gcm16-prfaescmac-ecp256', esp: 'aes128gcm16-x25519' },
  { ike: 'aes128gcm16-prfsha256-x25519-ke1_mlkem512', esp: 'aes128gcm16' },
  { ike: 'aes256gcm16-prfsha512-ecp521-ke1_mlkem1024', esp: 'aes256gcm16' },
];

const usualWith = (esp: string): Suites => ({ ike: USUAL.ike, esp });

/** The ciphers and the lengths of keys and tags that are not among those; one role has to do. Of libreswan CCM is for ESP only. */
const VARIANTS: readonly { readonly suites: Suites; readonly daemons?: RegExp }[] = [
  { suites: { ike: 'aes192gcm16-prfsha256-x25519', esp: 'aes128ccm8' } },
  { suites: { ike: 'aes192gcm8-prfsha256-x25519', esp: 'aes192ccm8' } },
  { suites: { ike: 'aes256gcm8-prfsha256-x25519', esp: 'aes256ccm8' } },
  { suites: { ike: 'aes192gcm12-prfsha256-x25519', esp: 'aes128ccm12' } },
  { suites: { ike: 'aes256gcm12-prfsha256-x25519', esp: 'aes192ccm12' } },
  ...[
    { ike: 'aes128ccm8-prfsha256-x25519', esp: 'aes192gcm8' },
    { ike: 'aes192ccm8-prfsha256-x25519', esp: 'aes256gcm8' },
    { ike: 'aes256ccm8-prfsha256-x25519', esp: 'aes192gcm12' },
    { ike: 'aes128ccm12-prfsha256-x25519', esp: 'aes256gcm12' },
    { ike: 'aes192ccm12-prfsha256-x25519', esp: 'aes192gcm16' },
    { ike: 'aes256ccm12-prfsha256-x25519', esp: 'aes256ccm12' },
    { ike: 'aes192ccm16-prfsha256-x25519', esp: 'aes192ccm16' },
    { ike: 'aes256ccm16-prfsha256-x25519', esp: 'aes256ccm16' },
  ].map((suites) => ({ suites, daemons: /^strongswan/ })),
  ...[
    'aes192gcm8',
    'aes256gcm8',
    'aes192gcm12',
    'aes256gcm12',
    'aes192gcm16',
    'aes256ccm12',
    'aes128ccm16',
    'aes192ccm16',
    'aes256ccm16',
  ].map((esp) => ({ suites: usualWith(esp), daemons: /^libreswan/ })),
];

/** All of them, in order. */
export const ALL_SUITES = [...SUITES, ...VARIANTS.map(({ suites }) => suites)];

export const suitesName = ({ ike, esp }: Suites) => `${ike} / ${esp}`;

/** How the ends prove themselves where that is not what a cell is about. */
export function usualAuthentication(daemon: DaemonName): AuthenticationName {
  return daemon.startsWith('libreswan') ? 'NULL, ECDSA P-256' : 'public PSK, Ed25519';
}

/** Every daemon in every role with every feature, authentication and suite. */
export function enumerateCells(): Cell[] {
  const cells: Cell[] = [];
  const add = (cell: Omit<Cell, 'id' | 'lack'>, what: string) => {
    const lack = lackOf(cell);
    cells.push({ ...cell, id: `${cell.daemon} ${cell.role}: ${what}`, ...(lack !== undefined && { lack }) });
  };
  for (const daemon of DAEMONS) {
    for (const role of ROLES) {
      const usual = { daemon, role, authentication: usualAuthentication(daemon), suites: USUAL };
      for (const feature of Object.keys(FEATURES) as FeatureName[]) {
        const { authentication = usual.authentication, daemons, roles = ROLES }: Feature = FEATURES[feature];
        if (feature === 'plain' || daemons?.test(daemon) === false || !roles.includes(role)) continue;
        add({ ...usual, feature, authentication }, feature);
      }
      for (const authentication of Object.keys(AUTHENTICATIONS) as AuthenticationName[])
        add({ ...usual, feature: 'plain', authentication }, authentication);
      // In the guest kernel cells are dear: one role has to do for the suites, and each version for every other one.
      const isDear = daemon.startsWith('libreswan');
      if (isDear && role === 'responder') continue;
      const variants = VARIANTS.filter(
        ({ daemons }) => role === 'initiator' && daemons?.test(daemon) !== false,
      );
      for (const [index, suites] of [...SUITES, ...variants.map(({ suites }) => suites)].entries())
        if (!isDear || index % 2 === DAEMONS.indexOf(daemon) % 2)
          add({ ...usual, feature: 'plain', suites }, suitesName(suites));
    }
  }
  return cells;
}
