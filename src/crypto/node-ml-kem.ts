import * as crypto from 'node:crypto';
import { concat, fromHex } from '../wire/bytes.ts';
import type { Kem, MlKem } from './key-exchange.ts';
import { zero } from './transforms.ts';

/** What node:crypto has from Node 24.7 on, with OpenSSL 3.5. */
interface Encapsulation {
  encapsulate(key: crypto.KeyObject): { readonly ciphertext: Uint8Array; readonly sharedKey: Uint8Array };
  decapsulate(key: crypto.KeyObject, ciphertext: Uint8Array): Uint8Array;
}

/** DER ahead of a key: PKCS #8 that holds the seed alone, and SubjectPublicKeyInfo (RFC 9935 4, 6). */
const FORMS = {
  'ML-KEM-512': {
    privateKey: fromHex('3054020100300b060960864801650304040104428040'),
    publicKey: fromHex('30820332300b06096086480165030404010382032100'),
  },
  'ML-KEM-768': {
    privateKey: fromHex('3054020100300b060960864801650304040204428040'),
    publicKey: fromHex('308204b2300b0609608648016503040402038204a100'),
  },
  'ML-KEM-1024': {
    privateKey: fromHex('3054020100300b060960864801650304040304428040'),
    publicKey: fromHex('30820632300b06096086480165030404030382062100'),
  },
} as const;

/** ML-KEM of node:crypto; undefined where it has none. Its encapsulation draws from OpenSSL, not from the random source. */
export const nodeMlKem: ((name: MlKem) => Kem) | undefined =
  'encapsulate' in crypto && 'decapsulate' in crypto
    ? (name) => mlKem(FORMS[name], crypto as unknown as Encapsulation)
    : undefined;

function mlKem(form: (typeof FORMS)[MlKem], { encapsulate, decapsulate }: Encapsulation): Kem {
  return {
    keyPair(draw) {
      const der = concat(form.privateKey, draw());
      const privateKey = crypto.createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
      zero(der);
      const spki = crypto.createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
      return {
        publicValue: new Uint8Array(spki.subarray(form.publicKey.length)),
        agree: (ciphertext) => new Uint8Array(decapsulate(privateKey, ciphertext)),
      };
    },
    encapsulate(key) {
      const der = concat(form.publicKey, key) as Buffer;
      const publicKey = crypto.createPublicKey({ key: der, format: 'der', type: 'spki' });
      const { ciphertext, sharedKey } = encapsulate(publicKey);
      return { publicValue: new Uint8Array(ciphertext), sharedSecret: new Uint8Array(sharedKey) };
    },
  };
}
