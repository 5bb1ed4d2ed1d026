import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import { concat, fromHex } from '../wire/bytes.ts';
import { DerTag, decodeDer, decodeDerSequence, derContent, encodeDer, positiveInteger } from './der.ts';
import { leftPad, type ModpGroup } from './groups.ts';
import type { KeyPair, RandomSecret } from './key-exchange.ts';
import { zero } from './transforms.ts';

// PKCS #3 9, RFC 5208 5, RFC 5280 4.1: the algorithm is SEQUENCE { dhKeyAgreement, SEQUENCE { p, g } }; a private key is
// SEQUENCE { 0, algorithm, OCTET STRING { INTEGER } }, a public one SEQUENCE { algorithm, BIT STRING { INTEGER } }.

const DH_KEY_AGREEMENT = fromHex('06092a864886f70d010301');
const ZERO = fromHex('020100');
const GENERATOR = fromHex('020102');

/** Not through `createDiffieHellman`, which from Node 24 on takes seconds to test the prime. */
export function nodeModp({ prime }: ModpGroup, draw: RandomSecret): KeyPair {
  const algorithm = encodeDer(
    DerTag.SEQUENCE,
    DH_KEY_AGREEMENT,
    encodeDer(DerTag.SEQUENCE, integer(prime), GENERATOR),
  );
  const secret = integer(draw());
  const der = encodeDer(DerTag.SEQUENCE, ZERO, algorithm, encodeDer(DerTag.OCTET_STRING, secret));
  const privateKey = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
  zero(secret, der);
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const [, bits] = decodeDerSequence(spki);
  const [value] = decodeDer(derContent(bits, DerTag.BIT_STRING).subarray(1));
  return {
    publicValue: leftPad(positiveInteger(value), prime.length),
    agree(peerValue) {
      const key = encodeDer(
        DerTag.SEQUENCE,
        algorithm,
        encodeDer(DerTag.BIT_STRING, Uint8Array.of(0), integer(peerValue)),
      );
      const publicKey = createPublicKey({ key: key as Buffer, format: 'der', type: 'spki' });
      return leftPad(diffieHellman({ privateKey, publicKey }), prime.length);
    },
  };
}

/** The INTEGER of big-endian octets, not all of them zero. */
function integer(bytes: Uint8Array): Uint8Array {
  const value = bytes.subarray(bytes.findIndex((octet) => octet !== 0));
  return encodeDer(DerTag.INTEGER, value[0] >= 0x80 ? concat(Uint8Array.of(0), value) : value);
}
