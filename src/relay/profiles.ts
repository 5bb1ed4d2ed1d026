import type { AddressAssigner } from '../cp/assigner.ts';
import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import type { LocalAuthentication, PeerClaim, ResponderProfile } from '../ike/config.ts';
import { AuthMethod, IdType } from '../ike/constants.ts';
import type { Millis } from '../link/clock.ts';
import { equalBytes, fromHex, utf8 } from '../wire/bytes.ts';
import { anySelector } from '../wire/traffic-selector.ts';
import type { RelayConfig } from './config.ts';
import { overlaySelectors } from './overlay-selectors.ts';

/** The profiles of a relay: whoever proves nothing, whoever knows what everybody knows, and listed relays. */
export const ProfileName = {
  ANONYMOUS: 'anonymous',
  SHARED: 'public-shared-key',
  OVERLAY: 'overlay',
} as const;

/** What every client of the public shared key calls itself. */
const ANONYMOUS_ID = utf8('anonymous');

/** An IKE SA without a Child SA is of no use to anybody. */
const CHILDLESS_TIMEOUT: Millis = 30_000;

/**
 * The relay's answer to a claim (K26, RFC 7619): a client that proves nothing gets an address and no more; a listed relay,
 * from the host's network, that proves exactly its pinned key gets its overlay tunnel. Everybody else, a relay that is not
 * listed included, gets nothing, and no claim leads from one profile to another.
 */
export function relayProfiles(
  config: RelayConfig,
  assigner: AddressAssigner,
): (claim: PeerClaim) => ResponderProfile | undefined {
  const local = relayAuthentication(config, false);
  const peers = new Map(config.peers.map((peer) => [peer.keyId, peer]));
  const client = {
    local,
    tsLocal: [anySelector(4), anySelector(6)],
    tsRemote: [],
    assigner,
    childlessTimeout: CHILDLESS_TIMEOUT,
  };
  const anonymous: ResponderProfile = { ...client, name: ProfileName.ANONYMOUS, remote: { kind: 'null' } };
  const shared: ResponderProfile | undefined =
    config.publicSharedKey === undefined
      ? undefined
      : {
          ...client,
          name: ProfileName.SHARED,
          remote: { kind: 'shared-key', secret: utf8(config.publicSharedKey) },
        };

  // Inside a telescope, addresses are those that relays assign (K28).
  const mobileIf = (fromHost: boolean, profile: ResponderProfile): ResponderProfile =>
    fromHost ? { ...profile, mobike: (origin) => origin.encapsulated || !config.encapsulatedOnly } : profile;

  return (claim) => {
    const { identity, method, origin } = claim;
    const fromHost = origin.overlayPeer === undefined;
    if (fromHost && config.encapsulatedOnly && !origin.encapsulated) return undefined;
    switch (method) {
      case AuthMethod.NULL:
        return identity.type === IdType.ID_NULL ? mobileIf(fromHost, anonymous) : undefined;
      case AuthMethod.SHARED_KEY:
        return identity.type === IdType.ID_KEY_ID && equalBytes(identity.data, ANONYMOUS_ID)
          ? shared && mobileIf(fromHost, shared)
          : undefined;
      case AuthMethod.DIGITAL_SIGNATURE: {
        const peer = fromHost ? claimedPeer(peers, claim) : undefined;
        return peer && overlayProfile(config, peer);
      }
      default:
        return undefined;
    }
  };
}

/** How a relay proves itself: by its Ed25519 key, named by the key's id. */
export function relayAuthentication({ own, key }: RelayConfig, sendKey: boolean): LocalAuthentication {
  return { kind: 'signature', identity: { type: IdType.ID_KEY_ID, data: fromHex(own.keyId) }, key, sendKey };
}

/** The listed relay that a claim names by its key or by the key's id; the signature still has to prove it. */
function claimedPeer(
  peers: ReadonlyMap<string, RelayDescriptor>,
  { identity, publicKey }: PeerClaim,
): RelayDescriptor | undefined {
  for (const peer of peers.values()) {
    if (publicKey !== undefined) {
      if (equalBytes(publicKey, peer.publicKey)) return peer;
    } else if (identity.type === IdType.ID_KEY_ID && equalBytes(identity.data, fromHex(peer.keyId))) {
      return peer;
    }
  }
  return undefined;
}

function overlayProfile(config: RelayConfig, peer: RelayDescriptor): ResponderProfile {
  const { local, remote } = overlaySelectors(config.own, peer);
  return {
    name: ProfileName.OVERLAY,
    local: relayAuthentication(config, true),
    remote: { kind: 'signature', publicKey: peer.publicKey },
    tsLocal: local,
    tsRemote: remote,
    contactKey: peer.keyId,
    childlessTimeout: CHILDLESS_TIMEOUT,
  };
}
