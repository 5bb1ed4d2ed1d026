import { nobleProvider } from '../../src/crypto/noble.ts';
import { NOTIFY_NAMES, registeredName } from '../../src/decode/registries.ts';
import { IkeLineage } from '../../src/ike/lineage.ts';
import { decodePlain } from '../../src/ike/message.ts';
import type { Payload } from '../../src/ike/payload/index.ts';
import { hopConfig } from '../../src/telescope/profile.ts';
import { hex } from '../../src/wire/bytes.ts';
import { TO_RESPONDER } from '../support/ike-configs.ts';
import { seededRandom } from '../support/seeded-random.ts';

/** What tells one IKE_SA_INIT request from another: its payloads in order, and how large each is. */
export function fingerprint(message: Uint8Array): string {
  const decoded = decodePlain(message);
  if (!('payloads' in decoded)) throw new Error('that is no IKE_SA_INIT request');
  return decoded.payloads.map(describe).join(' ');
}

function describe(payload: Payload): string {
  switch (payload.kind) {
    case 'SA':
      return payload.proposals
        .map(
          ({ transforms }) =>
            `SA[${transforms.map(({ type, id, keyLength = '' }) => `${type}:${id}${keyLength && `/${keyLength}`}`).join(' ')}]`,
        )
        .join(' ');
    case 'KE':
      return `KE(${payload.method})`;
    case 'NONCE':
      return `Ni(${payload.data.length})`;
    case 'NOTIFY':
      return `N(${registeredName(NOTIFY_NAMES, payload.type)}${payload.data.length > 0 ? ` ${length(payload.data)}` : ''})`;
    case 'VENDOR_ID':
      return `V(${hex(payload.data)})`;
    default:
      return payload.kind;
  }
}

/** Short contents are the same in every message. */
function length(data: Uint8Array): string {
  return data.length <= 12 ? hex(data) : `${data.length} octets`;
}

/** Ours at the hops after the first. */
export function ownFirstMessage(): Uint8Array {
  const relay = {
    name: 'relay',
    publicKey: new Uint8Array(44),
    addresses: { ip4: TO_RESPONDER.address },
    pools: {},
    overlayMtu: 1400,
  };
  const retransmission = { first: 500, factor: 2, cap: 4_000, tries: 30 };
  const crypto = nobleProvider(seededRandom(1));
  const config = hopConfig(relay, { crypto, family: 4, first: false, retransmission });
  const ike = IkeLineage.initiate(config, TO_RESPONDER, 0);
  for (let output = ike.poll(); output !== undefined; output = ike.poll())
    if (output.kind === 'transmit') return output.message;
  throw new Error('an initiator says nothing');
}
