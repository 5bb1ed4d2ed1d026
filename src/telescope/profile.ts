import type { CryptoProvider } from '../crypto/provider.ts';
import { lifetimes } from '../endpoint/lifetimes.ts';
import type {
  ChildAnswer,
  InitiatorConfig,
  LocalAuthentication,
  RetransmissionSchedule,
} from '../ike/config.ts';
import { IdType } from '../ike/constants.ts';
import type { KeyLog } from '../ike/key-log.ts';
import { defaultChildProposals, defaultIkeProposals } from '../ike/proposal.ts';
import type { Origin } from '../link/link.ts';
import { type Address, addressBytes, type Family, prefixContains, prefixText } from '../wire/address.ts';
import { utf8 } from '../wire/bytes.ts';
import { addressSelector, anySelector, equalSelectors } from '../wire/traffic-selector.ts';
import { poolOf, type RelayTarget } from './relay-target.ts';

/** The retransmission schedule while a telescope is built: the same for every client (T9). */
export const buildSchedule: RetransmissionSchedule = { first: 500, factor: 2, cap: 4_000, tries: 30 };

/** Once a hop is built, a relay that is gone is given up after 15.5 seconds. */
const liveSchedule: RetransmissionSchedule = { first: 500, factor: 2, cap: 2_000, tries: 9 };

/**
 * The one message profile of telescope hops: everybody sends the same payload list. TSi and TSr are proposed as any, the
 * addresses are asked for by CP, nothing identifies the client (K26, K27). NAT detection and MOBIKE are for the first hop only (K28).
 */
export function hopConfig(
  relay: RelayTarget,
  options: {
    readonly crypto: CryptoProvider;
    readonly family: Family;
    readonly first: boolean;
    /** The relay on its port 4500; at the first hop. */
    readonly traversal?: Origin;
    readonly retransmission: RetransmissionSchedule;
    readonly keyLog?: KeyLog;
  },
): InitiatorConfig {
  const { crypto, family, first, traversal, retransmission, keyLog } = options;
  return {
    crypto,
    ikeProposals: defaultIkeProposals,
    childProposals: defaultChildProposals,
    retransmission,
    establishedRetransmission: liveSchedule,
    ...lifetimes,
    ...(keyLog !== undefined && { keyLog }),
    local: clientAuthentication(relay),
    remote: { kind: 'signature', publicKey: relay.publicKey },
    child: {
      tsI: [anySelector(family)],
      tsR: [anySelector(family)],
      addresses: { ip4: family === 4, ip4Dns: family === 4, ip6: family === 6, ip6Dns: family === 6 },
    },
    acceptChild: (answer) => judgeAnswer(relay, family, answer),
    initialContact: false,
    natDetection: first,
    mobike: first,
    ...(traversal !== undefined && { traversal }),
  };
}

function clientAuthentication(relay: RelayTarget): LocalAuthentication {
  if (relay.publicSharedKey === undefined) return { kind: 'null' };
  return {
    kind: 'shared-key',
    identity: { type: IdType.ID_KEY_ID, data: utf8('anonymous') },
    secret: utf8(relay.publicSharedKey),
  };
}

/** The assigned address of `family` in an answer. */
export function assignedAddress(answer: ChildAnswer, family: Family): Address | undefined {
  return family === 4 ? answer.assigned?.ip4 : answer.assigned?.ip6?.address;
}

/** Refuses an answer that would leak or could not work: K26 and the pool that the relay signed. */
function judgeAnswer(relay: RelayTarget, family: Family, answer: ChildAnswer): string | undefined {
  const assigned = assignedAddress(answer, family);
  if (assigned === undefined) return `it assigned no IPv${family} address`;
  const pool = poolOf(relay, family);
  if (pool !== undefined && !prefixContains(pool, addressBytes(assigned))) {
    return `it assigned an address outside its pool ${prefixText(pool)}`;
  }
  if (answer.tsI.length !== 1 || !equalSelectors(answer.tsI[0], addressSelector(assigned))) {
    return 'its TSi is not exactly the address that it assigned';
  }
  if (answer.tsR.length !== 1 || !equalSelectors(answer.tsR[0], anySelector(family))) {
    return 'it narrowed TSr: it would not carry traffic to every destination';
  }
  return undefined;
}
