import {
  EncryptionTransform,
  encryptionOf,
  IntegrityTransform,
  KeyExchangeMethod,
  PrfTransform,
  TransformType,
} from '../crypto/transforms.ts';
import type { Proposal } from '../ike/config.ts';

const ENCRYPTION: Readonly<Record<number, string>> = {
  [EncryptionTransform.AES_CBC]: 'aes_cbc',
  [EncryptionTransform.AES_GCM_16]: 'aes_gcm_c',
  [EncryptionTransform.CHACHA20_POLY1305]: 'chacha20_poly1305',
};
const HASHES: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  [TransformType.INTEG]: { [IntegrityTransform.HMAC_SHA2_256_128]: 'sha2_256' },
  [TransformType.PRF]: {
    [PrfTransform.HMAC_SHA2_256]: 'sha2_256',
    [PrfTransform.HMAC_SHA2_384]: 'sha2_384',
    [PrfTransform.HMAC_SHA2_512]: 'sha2_512',
  },
};
const GROUPS: Readonly<Record<number, string>> = {
  [KeyExchangeMethod.CURVE25519]: 'dh31',
  [KeyExchangeMethod.ECP_256]: 'dh19',
  [KeyExchangeMethod.MODP_2048]: 'dh14',
};

/** IKE proposals as libreswan writes them. With AEAD its hashes are PRFs, otherwise one is both. */
export function libreswanIke(proposals: readonly Proposal[]): string {
  return proposals
    .map((proposal) => {
      const type = isAead(proposal) ? TransformType.PRF : TransformType.INTEG;
      return `${encryption(proposal)}-${words(proposal, type, HASHES[type])}-${words(proposal, TransformType.KE, GROUPS)}`;
    })
    .join(',');
}

/** ESP proposals; whether sequence numbers are extended is said elsewhere. */
export function libreswanEsp(proposals: readonly Proposal[]): string {
  const { INTEG } = TransformType;
  return proposals
    .map(
      (proposal) =>
        `${encryption(proposal)}-${isAead(proposal) ? 'none' : words(proposal, INTEG, HASHES[INTEG])}`,
    )
    .join(',');
}

function isAead({ transforms }: Proposal): boolean {
  return transforms.every(({ type, id }) => type !== TransformType.ENCR || encryptionOf(id).aead);
}

function encryption({ transforms }: Proposal): string {
  return transforms
    .filter(({ type }) => type === TransformType.ENCR)
    .map(({ id, keyLength }) =>
      keyLength === undefined ? word(ENCRYPTION, id) : `${word(ENCRYPTION, id)}_${keyLength}`,
    )
    .join('+');
}

function words({ transforms }: Proposal, type: number, table: Readonly<Record<number, string>>): string {
  return transforms
    .filter((transform) => transform.type === type)
    .map(({ id }) => word(table, id))
    .join('+');
}

/** @throws RangeError */
function word(table: Readonly<Record<number, string>>, id: number): string {
  const found = table[id];
  if (found === undefined) throw new RangeError(`libreswan has no word for transform ${id}`);
  return found;
}
