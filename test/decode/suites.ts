import { nodeProvider } from '../../src/crypto/node.ts';
import type { CryptoProvider, ProtectionKeys, ProtectionSuite } from '../../src/crypto/provider.ts';
import {
  EncryptionTransform,
  IntegrityTransform,
  KeyExchangeMethod,
  PrfTransform,
  TransformType,
} from '../../src/crypto/transforms.ts';
import type { Proposal } from '../../src/ike/config.ts';
import type { IkeSaSecrets } from '../../src/ike/key-log.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { Pair, type Sent, testCrypto } from '../support/pair.ts';
import type { RecordingCrypto } from '../support/recording-crypto.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { ENDS, udpPacket } from './captures.ts';

const { AES_CBC, AES_GCM_16, CHACHA20_POLY1305 } = EncryptionTransform;

/** Every suite of the project. */
export const SUITES: readonly ProtectionSuite[] = [
  ...[128, 192, 256].map((keyLength) => ({ encryption: AES_GCM_16, keyLength, integrity: 0 })),
  ...[128, 192, 256].map((keyLength) => ({
    encryption: AES_CBC,
    keyLength,
    integrity: IntegrityTransform.HMAC_SHA2_256_128,
  })),
  { encryption: CHACHA20_POLY1305, keyLength: 256, integrity: 0 },
];

/** What an initiator and a responder of the project said to each other, and the keys that they used. */
export interface Conversation {
  readonly sent: readonly Sent[];
  readonly secrets: IkeSaSecrets;
  /** Reads their messages by means of their own. */
  readonly reader: RecordingCrypto;
  /** The IP packets of the conversation. */
  readonly packets: readonly Uint8Array[];
}

/** @param anonymous - the initiator proves nothing and is ID_NULL (RFC 7619) */
export function conversation(suite: ProtectionSuite, anonymous = true, seed = 1): Conversation {
  const used: ProtectionKeys[] = [];
  const reader = testCrypto(seed);
  const initiatorCrypto = recording(reader.provider, used);
  const responderCrypto = nodeProvider(seededRandom(seed + 1000));
  const credentials = sharedKey('a secret');
  const ikeProposals = [proposal(suite)];
  const initiator = initiatorConfig(initiatorCrypto, credentials);
  const profile = anonymousProfile(credentials);
  const pair = new Pair({
    initiator: { ...initiator, ikeProposals, local: anonymous ? initiator.local : credentials.local },
    responder: {
      ...responderConfig(responderCrypto, anonymous ? profile : { ...profile, remote: credentials.remote }),
      ikeProposals,
    },
  });
  pair.run(1_000);
  pair.call(pair.initiator, (ike, now) => ike.close(now));
  pair.run(1_000);
  const { sent } = pair;
  const last = sent[sent.length - 1].message;
  const [skI, skR] = used;
  const secrets = { spiI: last.slice(0, 8), spiR: last.slice(8, 16), suite, initiator: skI, responder: skR };
  const packets = sent.map(({ from, message }) => {
    const { source, destination } = ENDS;
    return udpPacket(
      message,
      from === 'initiator' ? ENDS : { ...ENDS, source: destination, destination: source },
    );
  });
  return { sent, secrets, reader, packets };
}

function recording(inner: CryptoProvider, used: ProtectionKeys[]): CryptoProvider {
  return {
    ...inner,
    protector: (suite, keys) => {
      used.push({ encryption: keys.encryption.slice(), integrity: keys.integrity.slice() });
      return inner.protector(suite, keys);
    },
  };
}

function proposal({ encryption, keyLength, integrity }: ProtectionSuite): Proposal {
  const { ENCR, PRF, INTEG, KE } = TransformType;
  return {
    transforms: [
      { type: ENCR, id: encryption, ...(encryption !== CHACHA20_POLY1305 && { keyLength }) },
      { type: PRF, id: PrfTransform.HMAC_SHA2_256 },
      ...(integrity === 0 ? [] : [{ type: INTEG, id: integrity }]),
      { type: KE, id: KeyExchangeMethod.CURVE25519 },
    ],
  };
}
