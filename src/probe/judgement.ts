import { decodeCertificateFields } from '../crypto/certificate-fields.ts';
import type { CryptoProvider, SignatureScheme } from '../crypto/provider.ts';
import { transformName } from '../decode/registries.ts';
import { AuthMethod, CertEncoding, NotifyType, nameOf } from '../ike/constants.ts';
import type { Payload } from '../ike/payload/index.ts';
import { findNotify, findPayload } from '../ike/payloads.ts';
import { assignedAddress } from '../telescope/profile.ts';
import type { Family } from '../wire/address.ts';
import { WireError } from '../wire/reader.ts';
import { addressSelector, anySelector, equalSelectors } from '../wire/traffic-selector.ts';
import type { Attempt } from './client.ts';
import type { Point } from './point.ts';

/** IKE_SA_INIT: whether there is an answer, and what it has chosen. */
export function judgeInit({ witness, error }: Attempt): Point {
  const id = 'ike-sa-init';
  const answers = witness.initAnswers;
  const chosen = answers
    .map((payloads) => findPayload(payloads, 'SA'))
    .find((payload) => payload !== undefined);
  if (chosen !== undefined) {
    const names = chosen.proposals[0].transforms.map(({ type, id, keyLength }) => {
      const name = transformName(type, id);
      return keyLength === undefined ? name : `${name}-${keyLength}`;
    });
    const cookie = answers.some((payloads) => findNotify(payloads, NotifyType.COOKIE) !== undefined);
    return { id, status: 'pass', reason: `${names.join(', ')}${cookie ? '; after a cookie' : ''}` };
  }
  if (answers.length === 0) {
    const remedy = 'it is reachable, and lets UDP port 500 (4500 for ESP in UDP) and IP protocol 50 in';
    return { id, status: 'fail', reason: error?.message ?? 'no answer', remedy };
  }
  return {
    id,
    status: 'fail',
    reason: error?.message ?? 'refused',
    remedy: 'propose what clients propose: docs/stock-routers.md',
  };
}

/** @param anonymous - an attempt by NULL authentication @param shared - one by the key that everybody knows */
export function judgeAuthentication(anonymous: Attempt, shared: Attempt): Point {
  const id = 'client-authentication';
  const ways = [
    { name: 'NULL', attempt: anonymous },
    { name: 'the public shared key with keyid:anonymous', attempt: shared },
  ];
  const taken = ways.filter(({ attempt }) => attempt.witness.authAnswer.some(({ kind }) => kind === 'AUTH'));
  const text = ways
    .map(
      ({ name, attempt }) =>
        `${name}: ${taken.some((each) => each.attempt === attempt) ? 'yes' : (attempt.error?.message ?? 'no')}`,
    )
    .join('; ');
  if (taken.length > 0) return { id, status: 'pass', reason: text };
  const remedy =
    'strongSwan: remote { auth = psk, id = keyid:anonymous } and its secret; libreswan: rightauth = null, rightid = %null';
  return { id, status: 'fail', reason: text, remedy };
}

/** How it proves itself, and by which key. @param expected - SPKI */
export function judgeProof(
  { witness }: Attempt,
  crypto: CryptoProvider,
  expected: Uint8Array | undefined,
): Point {
  const id = 'proof';
  const { evidence, authAnswer } = witness;
  if (evidence === undefined) {
    const auth = findPayload(authAnswer, 'AUTH');
    const method = auth === undefined ? 'nothing' : nameOf(AuthMethod, auth.method);
    return {
      id,
      status: 'fail',
      reason: `it proves itself by ${method}, which anybody can`,
      remedy: 'a key of its own: strongSwan: local { auth = pubkey }; libreswan: leftauth = ecdsa',
    };
  }
  const { scheme, octets, signature } = evidence;
  const isBy = (key: Uint8Array) => crypto.signatures.verify(scheme, key, octets, signature);
  const by = schemeText(scheme);
  if (expected !== undefined) {
    return isBy(expected)
      ? { id, status: 'pass', reason: `${by}, by the key that was named` }
      : {
          id,
          status: 'fail',
          reason: `${by}, by another key than the one that was named`,
          remedy: 'ask its operator for the key',
        };
  }
  const shown = shownKeys(authAnswer).find(isBy);
  if (shown !== undefined) {
    return { id, status: 'pass', reason: `${by}; publicKey: ${Buffer.from(shown).toString('base64')}` };
  }
  return {
    id,
    status: 'unknown',
    reason: `${by}, by a key that it does not show`,
    remedy: 'ask its operator for the key, and probe again with --public-key',
  };
}

function schemeText(scheme: SignatureScheme): string {
  return scheme.kind === 'ed25519' ? 'Ed25519' : `${scheme.kind} with ${scheme.hash}`;
}

/** The keys in its certificates and its raw keys; nobody has certified anything. */
function shownKeys(payloads: readonly Payload[]): readonly Uint8Array[] {
  return payloads.flatMap((payload) => {
    if (payload.kind !== 'CERT') return [];
    if (payload.encoding === CertEncoding.RAW_PUBLIC_KEY) return [payload.data];
    try {
      return payload.encoding === CertEncoding.X509_SIGNATURE
        ? [decodeCertificateFields(payload.data).publicKey]
        : [];
    } catch (error) {
      if (error instanceof WireError) return [];
      throw error;
    }
  });
}

export function judgeAddress({ answer, error }: Attempt, family: Family): Point {
  const id = 'address';
  const assigned = answer && assignedAddress(answer, family);
  if (assigned !== undefined) return { id, status: 'pass', reason: assigned };
  return {
    id,
    status: 'fail',
    reason: error?.message ?? `no IPv${family} address`,
    remedy: `a pool of IPv${family} addresses: strongSwan: pools; libreswan: rightaddresspool`,
  };
}

export function judgeSelectors({ answer }: Attempt, family: Family): Point {
  const id = 'selectors';
  if (answer === undefined) return { id, status: 'unknown', reason: 'there is no Child SA' };
  const assigned = assignedAddress(answer, family);
  const { tsI, tsR } = answer;
  if (assigned === undefined || tsI.length !== 1 || !equalSelectors(tsI[0], addressSelector(assigned))) {
    return {
      id,
      status: 'fail',
      reason: 'TSi is not exactly the address that it has assigned',
      remedy: 'strongSwan: remote_ts = dynamic; libreswan: narrowing = yes and no rightsubnet',
    };
  }
  if (tsR.length !== 1 || !equalSelectors(tsR[0], anySelector(family))) {
    return {
      id,
      status: 'fail',
      reason: 'TSr is not everything: it carries traffic to some destinations only',
      remedy: `strongSwan: local_ts, libreswan: leftsubnet = ${family === 4 ? '0.0.0.0/0' : '::/0'}`,
    };
  }
  return { id, status: 'pass', reason: 'TSi is the address, TSr everything' };
}

export function judgeNat({ witness: { nat }, connection }: Attempt): Point {
  const id = 'nat-traversal';
  if (nat === undefined) return { id, status: 'pass', reason: 'it does not look for NATs' };
  if (nat.remote) {
    return {
      id,
      status: 'fail',
      reason:
        'its packets do not come from the address that it says: it is behind a NAT, or has all ESP go in UDP',
      remedy:
        'an address of its own; strongSwan: encap = no, without kernel-libipsec; libreswan: encapsulation = auto',
    };
  }
  if (nat.local) {
    return { id, status: 'unknown', reason: 'we are behind a NAT', remedy: 'probe from a host that is not' };
  }
  return connection?.encapsulated
    ? { id, status: 'unknown', reason: 'we can only do ESP in UDP', remedy: 'as root, with koffi' }
    : { id, status: 'pass', reason: 'plain ESP' };
}
