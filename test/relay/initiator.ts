import type { CryptoProvider, SigningKey } from '../../src/crypto/provider.ts';
import type { RelayDescriptor } from '../../src/descriptor/descriptor.ts';
import type { InitiatorConfig } from '../../src/ike/config.ts';
import { IdType } from '../../src/ike/constants.ts';
import { defaultChildProposals, defaultIkeProposals } from '../../src/ike/proposal.ts';
import { fromHex } from '../../src/wire/bytes.ts';
import type { TrafficSelector } from '../../src/wire/traffic-selector.ts';

/** An initiator that asks a relay for whatever a test wants, and accepts whatever it gets. */
export function buildInitiator(
  crypto: CryptoProvider,
  relay: RelayDescriptor,
  ask: {
    readonly tsI: readonly TrafficSelector[];
    readonly tsR: readonly TrafficSelector[];
    /** Absent: NULL authentication. */
    readonly key?: SigningKey;
    readonly keyId?: string;
    /** Asks for an IPv4 address. */
    readonly address?: boolean;
  },
): InitiatorConfig {
  const { key, keyId = '', tsI, tsR, address } = ask;
  return {
    crypto,
    ikeProposals: defaultIkeProposals,
    childProposals: defaultChildProposals,
    retransmission: { first: 500, factor: 2, cap: 2_000, tries: 5 },
    local:
      key === undefined
        ? { kind: 'null' }
        : {
            kind: 'signature',
            identity: { type: IdType.ID_KEY_ID, data: fromHex(keyId) },
            key,
            sendKey: true,
          },
    remote: { kind: 'signature', publicKey: relay.publicKey },
    child: {
      tsI,
      tsR,
      ...(address && { addresses: { ip4: true, ip6: false, ip4Dns: false, ip6Dns: false } }),
    },
    acceptChild: () => undefined,
    initialContact: false,
    natDetection: false,
  };
}
