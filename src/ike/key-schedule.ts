import type { CryptoProvider, ProtectionKeys, ProtectionSuite, Protector } from '../crypto/provider.ts';
import { prfOf, prfPlus, protectionKeyLengths, zero } from '../crypto/transforms.ts';
import { concat } from '../wire/bytes.ts';
import type { KeyLog } from './key-log.ts';

/** What both ends put into the keys of an IKE SA. */
export interface KeyInputs {
  readonly nonceI: Uint8Array;
  readonly nonceR: Uint8Array;
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
}

/** The keys of an IKE SA (RFC 7296 2.14); `initiator` protects what the original initiator sends. */
export interface IkeKeys {
  readonly skD: Uint8Array;
  readonly skPi: Uint8Array;
  readonly skPr: Uint8Array;
  readonly initiator: Protector;
  readonly responder: Protector;
  /** Overwrites them (best effort). */
  destroy(): void;
}

/** SKEYSEED = prf(Ni | Nr, g^ir); the PRFs of AES-128 take the first 64 bits of each nonce (RFC 7296 2.14). */
export function initialSkeyseed(
  crypto: CryptoProvider,
  prf: number,
  { nonceI, nonceR }: Pick<KeyInputs, 'nonceI' | 'nonceR'>,
  sharedSecret: Uint8Array,
): Uint8Array {
  const { noncePrefix } = prfOf(prf);
  const key = concat(nonceI.subarray(0, noncePrefix), nonceR.subarray(0, noncePrefix));
  return crypto.prf(prf, key, sharedSecret);
}

/**
 * SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr | SK(1) | ... | SK(n)), with the PRF of the old IKE SA (RFC 7296 2.18); SK(0) is
 * g^ir, and the others those of additional key exchanges (RFC 9370 2.2.4). In IKE_INTERMEDIATE there is one at a time (RFC
 * 9370 2.2.2).
 */
export function rekeyedSkeyseed(
  crypto: CryptoProvider,
  prf: number,
  skD: Uint8Array,
  { nonceI, nonceR }: Pick<KeyInputs, 'nonceI' | 'nonceR'>,
  [first, ...additional]: readonly Uint8Array[],
): Uint8Array {
  return crypto.prf(prf, skD, first, nonceI, nonceR, ...additional);
}

/**
 * {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr) (RFC 7296 2.14); AEAD
 * ciphers have no SK_a, and their SK_e end with the salt (RFC 5282 5.1, 7.1).
 */
export function deriveIkeKeys(
  crypto: CryptoProvider,
  suite: ProtectionSuite & { readonly prf: number },
  inputs: KeyInputs,
  skeyseed: Uint8Array,
  keyLog: KeyLog | undefined,
): IkeKeys {
  const prfLength = prfOf(suite.prf).outputLength;
  const lengths = protectionKeyLengths(suite);
  const seed = concat(inputs.nonceI, inputs.nonceR, inputs.spiI, inputs.spiR);
  const total = 3 * prfLength + 2 * (lengths.encryption + lengths.integrity);
  const take = cutter(prfPlus(crypto, suite.prf, skeyseed, seed, total));
  const skD = take(prfLength);
  const skAi = take(lengths.integrity);
  const skAr = take(lengths.integrity);
  const skEi = take(lengths.encryption);
  const skEr = take(lengths.encryption);
  const skPi = take(prfLength);
  const skPr = take(prfLength);
  const fromInitiator = { encryption: skEi, integrity: skAi };
  const fromResponder = { encryption: skEr, integrity: skAr };
  const { spiI, spiR } = inputs;
  keyLog?.ikeSa({ spiI, spiR, suite, initiator: fromInitiator, responder: fromResponder });
  const initiator = crypto.protector(suite, fromInitiator);
  const responder = crypto.protector(suite, fromResponder);
  return {
    skD,
    skPi,
    skPr,
    initiator,
    responder,
    destroy() {
      zero(skD, skPi, skPr, skAi, skAr, skEi, skEr);
      initiator.destroy();
      responder.destroy();
    },
  };
}

/**
 * SK_d, SK_pi and SK_pr, each made anew as prf+(PPK, SK') (RFC 8784 3); the others stay. Destroying the result destroys `keys` as
 * well.
 */
export function mixPpk(crypto: CryptoProvider, prf: number, keys: IkeKeys, ppk: Uint8Array): IkeKeys {
  const mix = (key: Uint8Array) => prfPlus(crypto, prf, ppk, key, key.length);
  const [skD, skPi, skPr] = [mix(keys.skD), mix(keys.skPi), mix(keys.skPr)];
  return {
    ...keys,
    skD,
    skPi,
    skPr,
    destroy() {
      zero(skD, skPi, skPr);
      keys.destroy();
    },
  };
}

/** The keys of the two SAs of a Child SA, by the direction of its traffic. */
export interface ChildKeys {
  readonly initiatorToResponder: ProtectionKeys;
  readonly responderToInitiator: ProtectionKeys;
}

/**
 * KEYMAT = prf+(SK_d, Ni | Nr), or prf+(SK_d, SK(0) | Ni | Nr | SK(1) | ... | SK(n)) after key exchanges of its own (RFC
 * 7296 2.17, RFC 9370 2.2.4): the initiator of that exchange to its responder first, in each direction encryption before
 * integrity.
 */
export function deriveChildKeys(
  crypto: CryptoProvider,
  prf: number,
  suite: ProtectionSuite,
  skD: Uint8Array,
  { nonceI, nonceR }: Pick<KeyInputs, 'nonceI' | 'nonceR'>,
  [first = new Uint8Array(0), ...additional]: readonly Uint8Array[] = [],
): ChildKeys {
  const lengths = protectionKeyLengths(suite);
  const total = 2 * (lengths.encryption + lengths.integrity);
  const seed = concat(first, nonceI, nonceR, ...additional);
  const take = cutter(prfPlus(crypto, prf, skD, seed, total));
  zero(seed);
  const direction = () => ({ encryption: take(lengths.encryption), integrity: take(lengths.integrity) });
  const initiatorToResponder = direction();
  return { initiatorToResponder, responderToInitiator: direction() };
}

/** Cuts views off the front of `bytes`. */
function cutter(bytes: Uint8Array): (length: number) => Uint8Array {
  let offset = 0;
  return (length) => {
    offset += length;
    return bytes.subarray(offset - length, offset);
  };
}
