import { createHash, createPublicKey } from 'node:crypto';
import { parsePrefix } from '../../../src/wire/address.ts';
import { concat } from '../../../src/wire/bytes.ts';
import type { Connection, KeyFiles, Proof } from './daemon.ts';
import { algorithms } from './libreswan-suites.ts';

/** What its one connection is called. */
export const CONNECTION = 'cell';

/** ipsec.conf: we are the right end. @param updown - the program that gives it the addresses that it is assigned */
export function ipsecConf(connection: Connection, updown: string): string {
  const { role, here, there, local, remote, cookies, ppk, mobike, dpdDelay } = connection;
  const { fragmentSize, dns = [], pools = [], requests = [] } = connection;
  const { ike, esp, esn, pfs } = algorithms(connection.suites);
  const setup = {
    uniqueids: 'no',
    plutodebug: 'base',
    'dnssec-enable': 'no',
    'ddos-mode': cookies ? 'busy' : 'unlimited',
  };
  const conn: Record<string, string | undefined> = {
    keyexchange: 'ike',
    auto: 'add',
    leftupdown: requests.length > 0 ? updown : '%disabled',
    left: here,
    // It does MOBIKE with those only whom it does not know the address of.
    right: mobike && role === 'responder' ? '%any' : there,
    ...end('left', local),
    ...end('right', remote),
    ike,
    esp,
    esn,
    pfs,
    narrowing: 'yes',
    'initial-contact': 'no',
    mobike: mobike ? 'yes' : 'no',
    fragmentation: fragmentSize === undefined ? 'yes' : 'force',
    ppk: ppk === undefined ? 'no' : ppk.required ? 'insist' : 'yes',
    ...(dpdDelay !== undefined && { dpddelay: `${dpdDelay}`, dpdtimeout: `${dpdDelay * 3}` }),
    'retransmit-timeout': '15',
    leftsubnet: connection.localTs === 'dynamic' ? everything(requests).join() : connection.localTs.join(),
    ...(role === 'initiator' && requests.length > 0 && { leftmodecfgclient: 'yes' }),
    ...(pools.length > 0
      ? { rightaddresspool: pools.map(range).join(), leftmodecfgserver: 'yes', rightmodecfgclient: 'yes' }
      : { rightsubnet: connection.remoteTs === 'dynamic' ? undefined : connection.remoteTs.join() }),
    ...(role === 'responder' && dns.length > 0 && { modecfgdns: dns.join() }),
  };
  return `${section('config setup', setup)}\n${section(`conn ${CONNECTION}`, conn)}`;
}

function section(title: string, options: Readonly<Record<string, string | undefined>>): string {
  const lines = Object.entries(options).filter(([, value]) => value !== undefined);
  return `${title}\n${lines.map(([name, value]) => `\t${name}=${value}\n`).join('')}`;
}

/** ipsec.secrets */
export function ipsecSecrets({ local, remote, ppk }: Connection): string {
  const shared = [local, remote].find((proof) => proof.kind === 'psk');
  const lines = [
    ...(shared === undefined ? [] : [`: PSK "${shared.secret}"`]),
    ...(ppk === undefined ? [] : [`: PPKS "${ppk.id}" 0x${Buffer.from(ppk.secret).toString('hex')}`]),
  ];
  return `${lines.join('\n')}\n`;
}

function end(side: 'left' | 'right', proof: Proof): Record<string, string | undefined> {
  const own = side === 'left';
  switch (proof.kind) {
    case 'null':
      return { [`${side}id`]: '%null', [`${side}auth`]: 'null' };
    case 'psk':
      return { [`${side}id`]: identity(proof.identity), [`${side}auth`]: 'secret' };
    case 'raw':
      return {
        [`${side}id`]: identity(proof.identity),
        [`${side}auth`]: method(proof.key),
        ...(own
          ? { leftckaid: ckaid(proof.key) }
          : {
              [`right${keyOption(proof.key)}`]: `0s${Buffer.from(publicKey(proof.key)).toString('base64')}`,
            }),
      };
    case 'certificate':
      return {
        [`${side}id`]: identity(proof.identity),
        [`${side}auth`]: method(proof.key),
        ...(own ? { leftcert: 'own', leftsendcert: 'always', sendca: 'all' } : { rightca: '%same' }),
      };
  }
}

/** Of the signatures there are RSASSA-PSS and ECDSA, with SHA-2. */
function method({ type }: KeyFiles): string {
  if (type === 'rsa') return 'rsasig';
  return type.startsWith('ecdsa') ? 'ecdsa' : type;
}

function keyOption({ type }: KeyFiles): string {
  return type === 'rsa' ? 'rsasigkey' : type.startsWith('ecdsa') ? 'ecdsakey' : `${type}key`;
}

/** As in IPSECKEY records: RFC 3110 2 for RSA, and the point's coordinates for ECDSA. */
function publicKey(key: KeyFiles): Uint8Array {
  const { n, e, x, y } = publicKeyOctets(key);
  return key.type === 'rsa' ? concat(Uint8Array.of(e.length), e, n) : concat(x, y);
}

/** What NSS calls a private key: the SHA-1 of the public key's modulus or point. */
function ckaid(key: KeyFiles): string {
  const point = key.type === 'rsa' ? publicKeyOctets(key).n : [4, ...publicKey(key)];
  return createHash('sha1').update(Uint8Array.from(point)).digest('hex');
}

function publicKeyOctets({ publicKey }: KeyFiles) {
  const { n, e, x, y } = createPublicKey(publicKey).export({ format: 'jwk' });
  const octets = (text = '') => Buffer.from(text, 'base64url');
  return { n: octets(n), e: octets(e), x: octets(x), y: octets(y) };
}

function identity(text: string): string {
  if (text.startsWith('keyid:')) return `@[${text.slice('keyid:'.length)}]`;
  return text.includes('@') || text.includes(':') || /^[\d.]+$/.test(text) ? text : `@${text}`;
}

function everything(families: readonly (4 | 6)[]): string[] {
  return families.map((family) => (family === 4 ? '0.0.0.0/0' : '::/0'));
}

/** The addresses of a pool: without those of the network and for broadcasts, and not more than can be listed. */
function range(pool: string): string {
  const { family } = parsePrefix(pool);
  const [address] = pool.split('/');
  if (family === 6) return `${address}/112`;
  const [a, b, c] = address.split('.');
  return `${a}.${b}.${c}.1-${a}.${b}.${c}.254`;
}
