import type { CryptoProvider } from '../crypto/provider.ts';
import type { Origin } from '../link/link.ts';
import { type Address, addressBytes } from '../wire/address.ts';
import { equalBytes } from '../wire/bytes.ts';
import { NotifyType } from './constants.ts';
import { type NotifyPayload, notify, type Payload } from './payload/index.ts';

/** The SPIs as they are in the header of the message: SPIr is zero in the request (RFC 7296 2.23). */
export interface HeaderSpis {
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
}

/** Port of IKE and ESP in UDP once a NAT was found (RFC 7296 2.23). */
const NAT_TRAVERSAL_PORT = 4500;

/**
 * N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP) of a message that we send to `to`. One source hash only:
 * more would tell of our other attachments.
 */
export function natDetectionNotifies(crypto: CryptoProvider, spis: HeaderSpis, to: Origin): NotifyPayload[] {
  return [
    notify(NotifyType.NAT_DETECTION_SOURCE_IP, digest(crypto, spis, to.localAddress, to.localPort)),
    notify(NotifyType.NAT_DETECTION_DESTINATION_IP, digest(crypto, spis, to.address, to.port)),
  ];
}

/** Where there are NATs between us and the peer (RFC 7296 2.23). */
export interface NatLocation {
  readonly local: boolean;
  readonly remote: boolean;
}

/** What a message shows that arrived from `from`; undefined if its sender does no NAT traversal: it lacks hashes. */
export function detectNat(
  crypto: CryptoProvider,
  spis: HeaderSpis,
  payloads: readonly Payload[],
  from: Origin,
): NatLocation | undefined {
  const sources = hashes(payloads, NotifyType.NAT_DETECTION_SOURCE_IP);
  const destinations = hashes(payloads, NotifyType.NAT_DETECTION_DESTINATION_IP);
  if (sources.length === 0 || destinations.length === 0) return undefined;
  const source = digest(crypto, spis, from.address, from.port);
  const destination = digest(crypto, spis, from.localAddress, from.localPort);
  return {
    local: !destinations.some((hash) => equalBytes(hash, destination)),
    remote: !sources.some((hash) => equalBytes(hash, source)),
  };
}

/** The hash of where the sender of a message sees us; undefined if it has none. */
export function seenAs(payloads: readonly Payload[]): Uint8Array | undefined {
  return hashes(payloads, NotifyType.NAT_DETECTION_DESTINATION_IP)[0];
}

/** Where the initiator sends everything after IKE_SA_INIT when a NAT was found. */
export function traversalOrigin(origin: Origin): Origin {
  return { ...origin, port: NAT_TRAVERSAL_PORT, localPort: NAT_TRAVERSAL_PORT, encapsulated: true };
}

/** SHA-1(SPIi | SPIr | address | port). */
function digest(
  crypto: CryptoProvider,
  { spiI, spiR }: HeaderSpis,
  address: Address,
  port: number,
): Uint8Array {
  return crypto.hash('sha1', spiI, spiR, addressBytes(address), Uint8Array.of(port >> 8, port & 255));
}

function hashes(payloads: readonly Payload[], type: number): Uint8Array[] {
  return payloads.flatMap((payload) =>
    payload.kind === 'NOTIFY' && payload.type === type ? [payload.data] : [],
  );
}
