import type { CryptoProvider } from '../crypto/provider.ts';
import { IDENTIFIED_SCHEMES, schemeOf } from '../crypto/signature-identifiers.ts';
import { signsBy } from '../crypto/signature-scheme.ts';
import { concat } from '../wire/bytes.ts';
import type { LocalAuthentication, RemoteAuthentication } from './config.ts';
import { AuthMethod, NotifyType } from './constants.ts';
import { type NotifyPayload, notify } from './payload/index.ts';

/** A way in which a peer can be proved something (RFC 9593 3.2). */
export interface Announcement {
  readonly method: number;
  /** The AlgorithmIdentifier (DER) that goes with Digital Signature. */
  readonly identifier?: Uint8Array;
}

/** The certificates of any authority, or none (RFC 9593 3.2.2). */
const NO_CERT_LINK = 0;

/** N(SUPPORTED_AUTH_METHODS): how a peer can prove itself that has to do it in one of these ways (RFC 9593 3). */
export function announcementNotify(
  ways: readonly RemoteAuthentication['kind'][],
  crypto: CryptoProvider,
): NotifyPayload {
  return notify(
    NotifyType.SUPPORTED_AUTH_METHODS,
    concat(...ways.flatMap((way) => announcements(way, crypto))),
  );
}

function announcements(way: RemoteAuthentication['kind'], { signatures }: CryptoProvider): Uint8Array[] {
  switch (way) {
    case 'null':
      return [Uint8Array.of(2, AuthMethod.NULL)];
    case 'shared-key':
      return [Uint8Array.of(2, AuthMethod.SHARED_KEY)];
    case 'signature':
    case 'certificate':
      return IDENTIFIED_SCHEMES.filter(({ scheme }) =>
        signatures.keyTypes.some((type) => signsBy(type, scheme)),
      ).map(({ identifiers: [identifier] }) => {
        const { length } = identifier;
        const head = Uint8Array.of(3 + length, AuthMethod.DIGITAL_SIGNATURE, NO_CERT_LINK);
        return concat(head, identifier);
      });
  }
}

/** What a peer announces; those that say nothing to us are left out. Undefined if it is malformed, or empty (RFC 9593 3.1). */
export function decodeAnnouncements(data: Uint8Array): readonly Announcement[] | undefined {
  const announcements: Announcement[] = [];
  for (let at = 0; at < data.length; at += data[at]) {
    const length = data[at];
    if (length < 2 || at + length > data.length) return undefined;
    const method = data[at + 1];
    if (length > 3) announcements.push({ method, identifier: data.slice(at + 3, at + length) });
    else announcements.push({ method });
  }
  return announcements.length === 0 ? undefined : announcements;
}

/** The first of `candidates` that the peer can verify, by its own account; the first of them if it can verify none. */
export function chooseLocal(
  candidates: readonly [LocalAuthentication, ...LocalAuthentication[]],
  announced: readonly Announcement[] | undefined,
): LocalAuthentication {
  const isWelcome = (local: LocalAuthentication) => announced?.some((one) => proves(local, one)) ?? true;
  return candidates.find(isWelcome) ?? candidates[0];
}

function proves(local: LocalAuthentication, { method, identifier }: Announcement): boolean {
  switch (local.kind) {
    case 'null':
      return method === AuthMethod.NULL;
    case 'shared-key':
      return method === AuthMethod.SHARED_KEY;
    case 'signature': {
      const scheme = identifier && schemeOf(identifier);
      return (
        method === AuthMethod.DIGITAL_SIGNATURE && scheme !== undefined && signsBy(local.key.type, scheme)
      );
    }
  }
}
