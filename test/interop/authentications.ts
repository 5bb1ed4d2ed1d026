import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { KeyFiles, Proof } from './daemons/daemon.ts';

/** How the two ends of a connection prove themselves, by the initiator and the responder. */
export interface Authentication {
  readonly initiator: Proof;
  readonly responder: Proof;
}

const SECRET = 'anonymous';
const CLIENT = 'keyid:anonymous';
const RELAY = 'relay.example';

/** Everybody knows the key: what strongSwan has for anonymous initiators. */
const publicKeyOfAll: Proof = { kind: 'psk', identity: CLIENT, secret: SECRET };

const PKI = (name: string) => readFileSync(`fixtures/pki/${name}.pem`, 'utf8');

/** Where raw keys come from. */
export type KeySource = (type: KeyFiles['type']) => KeyFiles;

/** A leaf of fixtures/pki, with the intermediate and the root. @param identity - one of its alternative names */
function certified(identity: string, name: string, type: KeyFiles['type']): Proof {
  const key = {
    type,
    privateKey: PKI(`${name}.key`),
    publicKey: '',
    certificates: [PKI(name), PKI('intermediate'), PKI('root')],
  };
  return { kind: 'certificate', identity, key };
}

/** A new one each time. */
export const newKey: KeySource = (type) => keyFiles(type, pair(type));

/** As daemons read them. */
export function keyFiles(
  type: KeyFiles['type'],
  { privateKey, publicKey }: ReturnType<typeof pair>,
): KeyFiles {
  return {
    type,
    privateKey: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    publicKey: String(publicKey.export({ format: 'pem', type: 'spki' })),
  };
}

function pair(type: KeyFiles['type']) {
  if (type === 'ed25519') return generateKeyPairSync('ed25519');
  if (type === 'rsa') return generateKeyPairSync('rsa', { modulusLength: 2048 });
  return generateKeyPairSync('ec', { namedCurve: type === 'ecdsa-p256' ? 'P-256' : 'P-384' });
}

function raw(identity: string, key: KeyFiles): Proof {
  return { kind: 'raw', identity, key };
}

const OTHER = 'relay@relay.example';

/** Keys are made for each cell, but for those of certificates. */
export const AUTHENTICATIONS = {
  'public PSK, Ed25519': (key) => ({ initiator: publicKeyOfAll, responder: raw(RELAY, key('ed25519')) }),
  'public PSK, ECDSA P-256': (key) => ({
    initiator: publicKeyOfAll,
    responder: raw(RELAY, key('ecdsa-p256')),
  }),
  'public PSK, ECDSA P-384': (key) => ({
    initiator: publicKeyOfAll,
    responder: raw(RELAY, key('ecdsa-p384')),
  }),
  'public PSK, RSA': (key) => ({ initiator: publicKeyOfAll, responder: raw(RELAY, key('rsa')) }),
  PSK: () => ({
    initiator: { ...publicKeyOfAll, identity: 'client.example' },
    responder: { ...publicKeyOfAll, identity: RELAY },
  }),
  Ed25519: (key) => ({
    initiator: raw('client.example', key('ed25519')),
    responder: raw(RELAY, key('ed25519')),
  }),
  'X.509 RSA-PSS': () => ({
    initiator: certified(OTHER, 'relay-ecdsa', 'ecdsa-p256'),
    responder: certified(RELAY, 'relay-rsa', 'rsa'),
  }),
  'X.509 ECDSA': () => ({
    initiator: certified(OTHER, 'relay-rsa', 'rsa'),
    responder: certified(RELAY, 'relay-ecdsa', 'ecdsa-p256'),
  }),
  'X.509 Ed25519': () => ({
    initiator: certified(OTHER, 'relay-ed25519', 'ed25519'),
    responder: certified(RELAY, 'relay-ed25519', 'ed25519'),
  }),
  'NULL, ECDSA P-256': (key) => ({ initiator: { kind: 'null' }, responder: raw(RELAY, key('ecdsa-p256')) }),
  'NULL, RSA': (key) => ({ initiator: { kind: 'null' }, responder: raw(RELAY, key('rsa')) }),
} as const satisfies Record<string, (key: KeySource) => Authentication>;

export type AuthenticationName = keyof typeof AUTHENTICATIONS;
