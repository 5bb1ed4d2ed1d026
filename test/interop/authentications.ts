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

const raw = (identity: string, type: KeyFiles['type']): Proof => ({
  kind: 'raw',
  identity,
  key: newKey(type),
});

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

function newKey(type: KeyFiles['type']): KeyFiles {
  const { privateKey, publicKey } = pair(type);
  return {
    type,
    privateKey: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    publicKey: String(publicKey.export({ format: 'pem', type: 'spki' })),
  };
}

function pair(type: KeyFiles['type']) {
  if (type === 'ed25519') return generateKeyPairSync('ed25519');
  if (type === 'rsa') return generateKeyPairSync('rsa', { modulusLength: 2048 });
  const curves = { 'ecdsa-p256': 'P-256', 'ecdsa-p384': 'P-384', 'ecdsa-p521': 'P-521' };
  return generateKeyPairSync('ec', { namedCurve: curves[type] });
}

const OTHER = 'relay@relay.example';

/** Made anew for each cell, but for the certificates. */
export const AUTHENTICATIONS = {
  'public PSK, Ed25519': () => ({ initiator: publicKeyOfAll, responder: raw(RELAY, 'ed25519') }),
  'public PSK, ECDSA P-256': () => ({ initiator: publicKeyOfAll, responder: raw(RELAY, 'ecdsa-p256') }),
  'public PSK, ECDSA P-384': () => ({ initiator: publicKeyOfAll, responder: raw(RELAY, 'ecdsa-p384') }),
  'public PSK, RSA': () => ({ initiator: publicKeyOfAll, responder: raw(RELAY, 'rsa') }),
  PSK: () => ({
    initiator: { ...publicKeyOfAll, identity: 'client.example' },
    responder: { ...publicKeyOfAll, identity: RELAY },
  }),
  Ed25519: () => ({ initiator: raw('client.example', 'ed25519'), responder: raw(RELAY, 'ed25519') }),
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
  'NULL, ECDSA P-256': () => ({ initiator: { kind: 'null' }, responder: raw(RELAY, 'ecdsa-p256') }),
  'NULL, RSA': () => ({ initiator: { kind: 'null' }, responder: raw(RELAY, 'rsa') }),
} as const satisfies Record<string, () => Authentication>;

export type AuthenticationName = keyof typeof AUTHENTICATIONS;
