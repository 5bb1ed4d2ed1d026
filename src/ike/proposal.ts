import type { ProtectionSuite } from '../crypto/provider.ts';
import {
  EncryptionTransform,
  encryptionOf,
  IntegrityTransform,
  KeyExchangeMethod,
  PrfTransform,
  SequenceNumbers,
  TransformType,
} from '../crypto/transforms.ts';
import type { EspSuite } from '../link/sa-store.ts';
import type { Proposal } from './config.ts';
import { NotifyType } from './constants.ts';
import { ProtocolError } from './errors.ts';
import { type ProposalPayload, ProtocolId, type Transform } from './payload/payload.ts';

/** The proposal that both peers agree on: at most one transform of each type, as offered. */
export interface Chosen {
  /** The offered proposal's. */
  readonly number: number;
  /** The SPI that the peer put into the proposal; empty in IKE_SA_INIT. */
  readonly spi: Uint8Array;
  /** One of each type. */
  readonly transforms: readonly Transform[];
}

/** The algorithms of an IKE SA, by their transform numbers. */
export interface IkeSuite extends ProtectionSuite {
  /** Transform type 2. */
  readonly prf: number;
  /** Transform type 4. */
  readonly keyExchange: number;
  /** Methods of the additional key exchanges, in order. */
  readonly additional: readonly number[];
}

/** Additional key exchanges (RFC 9370 4.1), in the order in which they take place. */
const ADDITIONAL: readonly number[] = [
  TransformType.ADDKE1,
  TransformType.ADDKE2,
  TransformType.ADDKE3,
  TransformType.ADDKE4,
  TransformType.ADDKE5,
  TransformType.ADDKE6,
  TransformType.ADDKE7,
];

/** NONE of the transform types that have one: integrity and key exchange (RFC 7296 3.3.2). */
const NONE = 0;

/** RFC 7296 3.3.3: transform types without which a proposal of the protocol is not valid, and all that it may have. */
const TRANSFORM_TYPES: Readonly<
  Record<number, { readonly mandatory: readonly number[]; readonly optional: readonly number[] }>
> = {
  [ProtocolId.IKE]: {
    mandatory: [TransformType.ENCR, TransformType.PRF, TransformType.KE],
    optional: [TransformType.INTEG, ...ADDITIONAL],
  },
  [ProtocolId.ESP]: {
    mandatory: [TransformType.ENCR, TransformType.ESN],
    optional: [TransformType.INTEG, TransformType.KE, ...ADDITIONAL],
  },
};

/** Numbers proposals from 1, as an SA payload wants them (RFC 7296 3.3.1). `spi` is empty in IKE_SA_INIT. */
export function encodeProposals(
  proposals: readonly Proposal[],
  protocol: number,
  spi: Uint8Array,
): ProposalPayload[] {
  return proposals.map(({ transforms }, index) => ({ number: index + 1, protocol, spi, transforms }));
}

/**
 * The responder's choice: the first of our proposals that some offered one satisfies, with the transforms that we prefer.
 * Offered proposals of other protocols, with an SPI that cannot be, or with unknown transform types are passed over.
 */
export function chooseProposal(
  ours: readonly Proposal[],
  offered: readonly ProposalPayload[],
  protocol: number,
): Chosen | undefined {
  for (const own of ours) {
    for (const { number, spi, transforms, ...proposal } of offered) {
      if (proposal.protocol !== protocol || !isPossibleSpi(protocol, spi)) continue;
      const chosen = chooseTransforms(own.transforms, transforms, protocol);
      if (chosen !== undefined) return { number, spi, transforms: chosen };
    }
  }
  return undefined;
}

function chooseTransforms(
  ours: readonly Transform[],
  offered: readonly Transform[],
  protocol: number,
): Transform[] | undefined {
  const { mandatory, optional } = TRANSFORM_TYPES[protocol];
  // RFC 7296 3.3.6: an unknown transform type spoils the proposal, an unknown transform is only not chosen.
  if (offered.some(({ type }) => !mandatory.includes(type) && !optional.includes(type))) return undefined;
  const possible = protocol === ProtocolId.IKE ? ours.filter(isForIke) : ours;
  const acceptable: Transform[][] = [];
  const types = new Set([...offered, ...possible].map(({ type }) => type));
  for (const type of [...mandatory, ...optional.filter((type) => types.has(type))]) {
    const theirs = offered.filter((transform) => transform.type === type);
    // A mandatory transform cannot be NONE. RFC 5282 8: integrity NONE and no integrity transform are the same.
    const canBeNone = optional.includes(type);
    const wanted = ofType(possible, type, canBeNone).filter(
      ({ id, keyLength }) =>
        (id === NONE && canBeNone && theirs.length === 0) ||
        theirs.some((t) => t.id === id && t.keyLength === keyLength && !t.unsupported),
    );
    if (wanted.length === 0) return undefined;
    acceptable.push(wanted);
  }
  // RFC 7296 3.3: the answer has a transform for each type that the offer has.
  const ofMethods = acceptable.filter(([first]) => isKeyExchange(first));
  const ofOthers = acceptable.filter(([first]) => !isKeyExchange(first));
  return chooseOfEach([...ofMethods, ...ofOthers])
    ?.filter(({ type }) => offered.some((transform) => transform.type === type))
    .sort((a, b) => a.type - b.type);
}

/**
 * One of each list, the first that can be. RFC 9370 2.2.1: no key exchange method twice.
 * @param taken - methods that are not to be chosen
 */
function chooseOfEach(
  [first, ...rest]: readonly (readonly Transform[])[],
  taken: readonly number[] = [],
): Transform[] | undefined {
  if (first === undefined) return [];
  for (const transform of first) {
    const isMethod = isKeyExchange(transform) && transform.id !== NONE;
    if (isMethod && taken.includes(transform.id)) continue;
    // What is additional needs something that it adds to.
    if (isMethod && transform.type !== TransformType.KE && taken.length === 0) continue;
    const others = chooseOfEach(rest, isMethod ? [...taken, transform.id] : taken);
    if (others !== undefined) return [transform, ...others];
  }
  return undefined;
}

/** Of the transform types that have key exchange methods (RFC 9370 4.1). */
function isKeyExchange({ type }: Transform): boolean {
  return type === TransformType.KE || ADDITIONAL.includes(type);
}

/** RFC 7296 5, RFC 8750 6. */
function isForIke({ type, id }: Transform): boolean {
  return type !== TransformType.ENCR || !encryptionOf(id).espOnly;
}

function ofType(transforms: readonly Transform[], type: number, canBeNone: boolean): readonly Transform[] {
  const found = transforms.filter((transform) => transform.type === type);
  return found.length === 0 && canBeNone ? [{ type, id: NONE }] : found;
}

/**
 * The initiator's check of an answer: one proposal of ours, one transform of each type, each as we offered it
 * (RFC 7296 2.7).
 * @throws ProtocolError INVALID_SYNTAX if it is anything else
 */
export function verifyAnswer(
  ours: readonly Proposal[],
  answer: readonly ProposalPayload[],
  protocol: number,
): Chosen {
  const [proposal] = answer;
  if (answer.length !== 1) throw wrong(`${answer.length} proposals, not one`);
  const own = ours[proposal.number - 1];
  if (own === undefined) throw wrong(`proposal ${proposal.number}, which was not offered`);
  if (proposal.protocol !== protocol) throw wrong(`a proposal of protocol ${proposal.protocol}`);
  if (!isPossibleSpi(protocol, proposal.spi)) throw wrong('an SPI that cannot be');
  const types = new Set(proposal.transforms.map(({ type }) => type));
  if (types.size !== proposal.transforms.length) throw wrong('two transforms of one type');
  const transforms = chooseTransforms(own.transforms, proposal.transforms, protocol);
  if (transforms === undefined) throw wrong('transforms that were not offered');
  return { number: proposal.number, spi: proposal.spi, transforms };
}

function wrong(what: string): ProtocolError {
  return new ProtocolError(NotifyType.INVALID_SYNTAX, `the peer answered our proposals with ${what}`);
}

/** RFC 7296 3.3.1; RFC 4303 2.1: ESP SPIs up to 255 are reserved. */
function isPossibleSpi(protocol: number, spi: Uint8Array): boolean {
  if (protocol === ProtocolId.IKE) {
    return spi.length === 0 || (spi.length === 8 && spi.some((octet) => octet !== 0));
  }
  return spi.length === 4 && (spi[0] | spi[1] | spi[2]) !== 0;
}

/** The algorithms of a proposal chosen for an IKE SA. */
export function ikeSuite({ transforms }: Chosen): IkeSuite {
  return {
    ...protectionSuite(transforms),
    prf: idOf(transforms, TransformType.PRF),
    keyExchange: idOf(transforms, TransformType.KE),
    additional: additionalMethods(transforms),
  };
}

/** The methods of the additional key exchanges among these transforms, in the order of their types (RFC 9370 2.2.2). */
export function additionalMethods(transforms: readonly Transform[]): number[] {
  return transforms
    .filter(({ type, id }) => ADDITIONAL.includes(type) && id !== NONE)
    .sort((a, b) => a.type - b.type)
    .map(({ id }) => id);
}

/** The algorithms of a proposal chosen for a Child SA. */
export function espSuite({ transforms }: Chosen): EspSuite {
  const esn = idOf(transforms, TransformType.ESN) === SequenceNumbers.EXTENDED;
  return { ...protectionSuite(transforms), esn };
}

/** The key exchange method of a proposal chosen for a Child SA; 0 if it has none of its own. */
export function keyExchangeOf({ transforms }: Chosen): number {
  return idOf(transforms, TransformType.KE);
}

function protectionSuite(transforms: readonly Transform[]): ProtectionSuite {
  const { id, keyLength } = transforms.find(({ type }) => type === TransformType.ENCR)!;
  return {
    encryption: id,
    keyLength: keyLength ?? encryptionOf(id).keyLengths[0],
    integrity: idOf(transforms, TransformType.INTEG),
  };
}

function idOf(transforms: readonly Transform[], type: number): number {
  return transforms.find((transform) => transform.type === type)?.id ?? NONE;
}

const { ENCR, PRF, INTEG, KE, ESN, ADDKE1 } = TransformType;
const AEAD: readonly Transform[] = [
  { type: ENCR, id: EncryptionTransform.AES_GCM_16, keyLength: 256 },
  { type: ENCR, id: EncryptionTransform.AES_GCM_16, keyLength: 128 },
  { type: ENCR, id: EncryptionTransform.CHACHA20_POLY1305 },
];
const CBC_WITH_HMAC: readonly Transform[] = [
  { type: ENCR, id: EncryptionTransform.AES_CBC, keyLength: 256 },
  { type: ENCR, id: EncryptionTransform.AES_CBC, keyLength: 128 },
  { type: INTEG, id: IntegrityTransform.HMAC_SHA2_256_128 },
];
const PRFS: readonly Transform[] = [
  { type: PRF, id: PrfTransform.HMAC_SHA2_256 },
  { type: PRF, id: PrfTransform.HMAC_SHA2_384 },
  { type: PRF, id: PrfTransform.HMAC_SHA2_512 },
];
const KEY_EXCHANGES: readonly Transform[] = [
  { type: KE, id: KeyExchangeMethod.CURVE25519 },
  { type: KE, id: KeyExchangeMethod.ECP_256 },
  { type: KE, id: KeyExchangeMethod.MODP_2048 },
];
const SEQUENCE_NUMBERS: readonly Transform[] = [
  { type: ESN, id: SequenceNumbers.EXTENDED },
  { type: ESN, id: SequenceNumbers.SHORT },
];

/** What we offer and accept for IKE SAs: AEAD ciphers first (RFC 8247 2.1), X25519 first. */
export const defaultIkeProposals: readonly Proposal[] = [
  { transforms: [...AEAD, ...PRFS, ...KEY_EXCHANGES] },
  { transforms: [...CBC_WITH_HMAC, ...PRFS, ...KEY_EXCHANGES] },
];

/** For whoever wants to be safe from quantum computers: ML-KEM-768 besides X25519 (RFC 9370), which demands it of the peer. */
export const postQuantumIkeProposals: readonly Proposal[] = [
  {
    transforms: [
      ...AEAD,
      ...PRFS,
      { type: KE, id: KeyExchangeMethod.CURVE25519 },
      { type: ADDKE1, id: KeyExchangeMethod.ML_KEM_768 },
    ],
  },
];

const ADDITIONAL_ML_KEM: readonly Transform[] = [
  { type: ADDKE1, id: KeyExchangeMethod.ML_KEM_768 },
  { type: ADDKE1, id: KeyExchangeMethod.ML_KEM_1024 },
  { type: ADDKE1, id: KeyExchangeMethod.ML_KEM_512 },
  { type: ADDKE1, id: NONE },
];

/** What relays accept for IKE SAs: our defaults, and with each of them ML-KEM of whoever wants it. */
export const relayIkeProposals: readonly Proposal[] = defaultIkeProposals.map(({ transforms }) => ({
  transforms: [...transforms, ...ADDITIONAL_ML_KEM],
}));

/** What we offer and accept for ESP (RFC 8221 5), with or without extended sequence numbers. */
export const defaultChildProposals: readonly Proposal[] = [
  { transforms: [...AEAD, ...SEQUENCE_NUMBERS] },
  { transforms: [...CBC_WITH_HMAC, ...SEQUENCE_NUMBERS] },
];
