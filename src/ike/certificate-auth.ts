import { decodeCertificateFields } from '../crypto/certificate-fields.ts';
import type { CertificateName, CryptoProvider } from '../crypto/provider.ts';
import { addressText } from '../wire/address.ts';
import { concat, equalBytes } from '../wire/bytes.ts';
import type {
  Identity,
  LocalAuthentication,
  ProvableAuthentication,
  RemoteAuthentication,
} from './config.ts';
import { CertEncoding, IdType } from './constants.ts';
import { AuthenticationError, LocalError } from './errors.ts';
import type { CertPayload, CertReqPayload, Payload } from './payload/index.ts';

/** Our CERT payloads: the raw public key (RFC 7670 3) for peers that do not know it, and X.509 (RFC 7296 3.6). */
export function certPayloads(local: LocalAuthentication): CertPayload[] {
  if (local.kind !== 'signature') return [];
  const { sendKey, key, certificates = [] } = local;
  return [
    ...(sendKey
      ? [{ kind: 'CERT', encoding: CertEncoding.RAW_PUBLIC_KEY, data: key.publicKey } as const]
      : []),
    ...certificates.map((data) => ({ kind: 'CERT', encoding: CertEncoding.X509_SIGNATURE, data }) as const),
  ];
}

/** CERTREQ: the SHA-1 hashes of the keys of the authorities (RFC 7296 3.7); a hash of them all, not of secrets. */
export function certReqPayload(crypto: CryptoProvider, authorities: readonly Uint8Array[]): CertReqPayload {
  const hashes = authorities.map((der) => crypto.hash('sha1', decodeCertificateFields(der).publicKey));
  return { kind: 'CERTREQ', encoding: CertEncoding.X509_SIGNATURE, data: concat(...hashes) };
}

/**
 * What the peer's AUTH payload has to prove: of the keys that an authority has certified, the one in its certificate. Payloads
 * that only say where a certificate is are ignored: nothing is fetched.
 * @param identity - that of its ID payload
 * @throws AuthenticationError if its certificate does not do
 */
export function demandedProof(
  remote: RemoteAuthentication,
  crypto: CryptoProvider,
  identity: Identity,
  payloads: readonly Payload[],
): ProvableAuthentication {
  if (remote.kind !== 'certificate') return remote;
  const { authorities, identity: expected, allowSha1 = false } = remote;
  if (crypto.certificates === undefined) {
    throw new LocalError(
      `the provider ${crypto.name} does not verify certificates; that over node:crypto does`,
    );
  }
  if (
    expected !== undefined &&
    (expected.type !== identity.type || !equalBytes(expected.data, identity.data))
  ) {
    throw new AuthenticationError('the peer claims another identity than the one that is expected');
  }
  const name = certificateName(identity);
  if (name === undefined) {
    throw new AuthenticationError(`certificates are not for identities of type ${identity.type}`);
  }
  const certificates = payloads.flatMap((payload) =>
    payload.kind === 'CERT' && payload.encoding === CertEncoding.X509_SIGNATURE ? [payload.data] : [],
  );
  const verdict = crypto.certificates.verify(certificates, { authorities, time: remote.time(), name });
  if (!verdict.ok) throw new AuthenticationError(`the peer's certificate is refused: ${verdict.reason}`);
  return { kind: 'signature', publicKey: verdict.publicKey, allowSha1 };
}

/** RFC 4945 3.1: what in a certificate an ID payload stands for; undefined for types that stand for nothing there. */
function certificateName({ type, data }: Identity): CertificateName | undefined {
  switch (type) {
    case IdType.ID_FQDN:
      return { kind: 'dns', name: String.fromCharCode(...data) };
    case IdType.ID_RFC822_ADDR:
      return { kind: 'email', name: String.fromCharCode(...data) };
    case IdType.ID_IPV4_ADDR:
    case IdType.ID_IPV6_ADDR:
      return data.length === (type === IdType.ID_IPV4_ADDR ? 4 : 16)
        ? { kind: 'ip', address: addressText(data) }
        : undefined;
    case IdType.ID_DER_ASN1_DN:
      return { kind: 'subject', der: data };
    default:
      return undefined;
  }
}
