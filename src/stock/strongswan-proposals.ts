import {
  EncryptionTransform,
  IntegrityTransform,
  KeyExchangeMethod,
  PrfTransform,
  SequenceNumbers,
  TransformType,
} from '../crypto/transforms.ts';
import type { Proposal } from '../ike/config.ts';
import type { Transform } from '../ike/payload/payload.ts';

const KEYWORDS: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  [TransformType.ENCR]: {
    [EncryptionTransform.AES_CBC]: 'aes',
    [EncryptionTransform.AES_GCM_16]: 'aesgcm16',
    [EncryptionTransform.CHACHA20_POLY1305]: 'chacha20poly1305',
  },
  [TransformType.INTEG]: { [IntegrityTransform.HMAC_SHA2_256_128]: 'sha256' },
  [TransformType.PRF]: {
    [PrfTransform.HMAC_SHA2_256]: 'prfsha256',
    [PrfTransform.HMAC_SHA2_384]: 'prfsha384',
    [PrfTransform.HMAC_SHA2_512]: 'prfsha512',
  },
  [TransformType.KE]: {
    [KeyExchangeMethod.CURVE25519]: 'x25519',
    [KeyExchangeMethod.ECP_256]: 'ecp256',
    [KeyExchangeMethod.MODP_2048]: 'modp2048',
  },
  [TransformType.ESN]: { [SequenceNumbers.EXTENDED]: 'esn', [SequenceNumbers.SHORT]: 'noesn' },
};

/** Proposals as strongSwan writes them, such as "aes256gcm16-prfsha256-x25519". @throws RangeError for a transform without a word */
export function strongswanProposals(proposals: readonly Proposal[]): string {
  return proposals.map(({ transforms }) => transforms.map(keyword).join('-')).join(',');
}

function keyword({ type, id, keyLength }: Transform): string {
  const word = KEYWORDS[type]?.[id];
  if (word === undefined) throw new RangeError(`no word for transform ${id} of type ${type}`);
  return keyLength === undefined ? word : word.replace(/^aes/, `aes${keyLength}`);
}
