import { createHash, createPrivateKey } from 'node:crypto';
import type { CryptoProvider, SigningKey } from '../crypto/provider.ts';
import { decodeSpki } from '../crypto/spki.ts';
import { lifetimes } from '../endpoint/lifetimes.ts';
import { defaultChildProposals, defaultIkeProposals } from '../ike/proposal.ts';
import type { RelayConfig } from '../relay/config.ts';
import { encodeKeyFile } from '../relay/key-file.ts';
import { addressText, anyAddress, type Family, type Prefix, prefixOf, prefixText } from '../wire/address.ts';
import type { KitFile } from './kit-file.ts';
import { libreswanEsp, libreswanIke } from './libreswan-proposals.ts';
import { ofFamily } from './overlay-plan.ts';

/** Seconds that a client may be silent until it is asked whether it is alive. */
const CLIENT_SILENCE = 60;

/** What the key is called in NSS's database. */
const NICKNAME = 'ike-telescope';

/** Bits of the addresses that it keeps a list of: 65,536 at most. */
const LISTED_BITS = 16;

/**
 * The text of a key file for libreswan, which has no Ed25519.
 * @throws RangeError if it is not the PEM of an unencrypted ECDSA key of P-256
 */
export function decodeEcdsaKey(text: string, crypto: CryptoProvider): SigningKey {
  const refused = new RangeError('not the PEM (PKCS #8) of an unencrypted ECDSA private key of P-256');
  let der: Uint8Array;
  try {
    der = new Uint8Array(createPrivateKey(text).export({ format: 'der', type: 'pkcs8' }));
  } catch {
    throw refused;
  }
  const key = crypto.signatures.fromPkcs8(der);
  if (key.type !== 'ecdsa-p256') throw refused;
  return key;
}

/** Everything that libreswan needs. @param notes - what to say of it */
export function libreswanFiles(
  config: RelayConfig,
  key: SigningKey,
  notes: readonly string[],
): readonly KitFile[] {
  const keyFile = 'ipsec.d/ike-telescope.pem';
  return [
    { path: 'ipsec.d/ike-telescope.conf', mode: 0o644, text: ipsecConf(config, key, notes) },
    { path: keyFile, mode: 0o600, text: encodeKeyFile(key) },
    { path: 'ike-telescope-import-key', mode: 0o755, text: importScript(`/etc/${keyFile}`) },
  ];
}

/** What to know of the router; a list follows of what it cannot do. */
export function libreswanNotes({ own }: RelayConfig, key: SigningKey): readonly string[] {
  const byFamily = (text: (family: Family) => string | undefined) =>
    ([4, 6] as const)
      .flatMap((family) => {
        const found = text(family);
        return found === undefined ? [] : [`ip${family}: ${JSON.stringify(found)}`];
      })
      .join(', ');
  const poolOf = (family: Family) => {
    const pool = ofFamily(own.pools, family);
    return pool && prefixText(pool);
  };
  return [
    `Relay ${own.name} on a router that runs libreswan 5 or later. Made by "ike-telescope relay-config".`,
    '',
    'Clients name it in their path files so; it has no descriptor, for its key is no Ed25519 key:',
    '  - stock:',
    `      name: ${own.name}`,
    `      publicKey: ${Buffer.from(key.publicKey).toString('base64')}`,
    `      addresses: { ${byFamily((family) => ofFamily(own.addresses, family))} }`,
    `      pools: { ${byFamily(poolOf)} }`,
    '',
    'What it cannot do, and a relay of ours can:',
    '* overlays: it is the only relay of a path.',
    '* hiding ECN: what is inside is copied to outer headers.',
  ];
}

/** ipsec.conf: a connection for the clients of each family. @param notes - lines for the top of it */
function ipsecConf(
  { own, dns, cookieThreshold, maxHalfOpen }: RelayConfig,
  key: SigningKey,
  notes: readonly string[],
): string {
  const { ikeLifetime, childLifetime } = lifetimes;
  const connections = ([4, 6] as const).flatMap((family) => {
    const pool = ofFamily(own.pools, family);
    if (pool === undefined) return [];
    const servers = dns.filter((server) => server.includes(':') === (family === 6));
    const options = {
      keyexchange: 'ike',
      auto: 'add',
      left: ofFamily(own.addresses, family)!,
      leftid: `@${own.name}`,
      leftauth: 'ecdsa',
      leftckaid: ckaid(key),
      leftsubnet: `${anyAddress(family)}/0`,
      leftupdown: '%disabled',
      leftmodecfgserver: 'yes',
      right: '%any',
      rightid: '%null',
      rightauth: 'null',
      rightaddresspool: poolText(pool),
      rightmodecfgclient: 'yes',
      ...(servers.length > 0 && { modecfgdns: servers.join(',') }),
      narrowing: 'yes',
      mobike: 'no',
      'initial-contact': 'no',
      'send-vendorid': 'no',
      'encap-dscp': 'no',
      pfs: 'no',
      esn: 'either',
      'replay-window': 128,
      ike: libreswanIke(defaultIkeProposals),
      esp: libreswanEsp(defaultChildProposals),
      rekey: 'no',
      ikelifetime: `${ikeLifetime.hard / 1000}s`,
      salifetime: `${childLifetime.hard / 1000}s`,
      dpddelay: CLIENT_SILENCE,
    };
    return [section(`conn ike-telescope-ip${family}`, options)];
  });
  const setup = {
    uniqueids: 'no',
    'ddos-ike-threshold': Math.max(1, cookieThreshold),
    'max-halfopen-ike': maxHalfOpen,
  };
  const head = notes.map((line) => `# ${line}`.trimEnd()).join('\n');
  return [`${head}\n`, section('config setup', setup), ...connections].join('\n');
}

/** A shell script that gives the key to NSS, where the daemon looks for it. @param file - the PEM file */
function importScript(file: string): string {
  return `#!/bin/sh
# Gives the relay's key to libreswan: into its database of keys, without a certificate. Made by "ike-telescope relay-config";
# needs openssl and libnss3-tools, and the database ("ipsec initnss").
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
database=sql:\${NSSDIR:-/var/lib/ipsec/nss}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl req -x509 -key ${file} -subj /CN=${NICKNAME} -out "$work/certificate"
openssl pkcs12 -export -name ${NICKNAME} -inkey ${file} -in "$work/certificate" -out "$work/both" -passout pass:${NICKNAME}
pk12util -i "$work/both" -d "$database" -W ${NICKNAME} -K ''
certutil -D -d "$database" -n ${NICKNAME} # the key stays
`;
}

function section(title: string, options: Readonly<Record<string, string | number>>): string {
  return `${title}\n${Object.entries(options)
    .map(([name, value]) => `\t${name}=${value}\n`)
    .join('')}`;
}

/** What NSS calls a private key: the SHA-1 of its public point. */
function ckaid({ publicKey }: SigningKey): string {
  const { value } = decodeSpki(publicKey) as { readonly value: Uint8Array };
  return createHash('sha1').update(Uint8Array.of(4)).update(value).digest('hex');
}

/** A range of IPv4 addresses, without those of the network and for broadcasts, or an IPv6 block; no more than can be listed. */
function poolText({ family, bytes, length }: Prefix): string {
  const width = family === 4 ? 32 : 128;
  const block = prefixOf(addressText(bytes), Math.max(length, width - LISTED_BITS));
  if (family === 6) return prefixText(block);
  const [first, last] = [block.bytes.slice(), block.bytes.slice()];
  for (let bit = block.length; bit < width; bit++) last[bit >> 3] |= 0x80 >> (bit & 7);
  if (block.length < 31) {
    first[3] |= 1;
    last[3] &= 0xfe;
  }
  return `${addressText(first)}-${addressText(last)}`;
}
