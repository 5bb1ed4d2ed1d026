import type { EspSuite, SaLimits } from '../link/sa-store.ts';
import type { ChildLifetime } from './config.ts';

/** Sequence numbers of 32 bits must not come round (RFC 4303 2.2): a quarter of them is left to rekey in. */
const SHORT_SEQUENCE = { soft: 3 * 2 ** 30, hard: 2 ** 32 - 1 };

/** How much an SA may carry; undefined if that is not limited. */
export function childLimits(lifetime: ChildLifetime | undefined, { esn }: EspSuite): SaLimits | undefined {
  const { softOctets, hardOctets, softPackets, hardPackets } = lifetime ?? {};
  const packets = {
    soft: Math.min(
      softPackets ?? Number.POSITIVE_INFINITY,
      esn ? Number.POSITIVE_INFINITY : SHORT_SEQUENCE.soft,
    ),
    hard: Math.min(
      hardPackets ?? Number.POSITIVE_INFINITY,
      esn ? Number.POSITIVE_INFINITY : SHORT_SEQUENCE.hard,
    ),
  };
  const limits = {
    ...(softOctets !== undefined && { softOctets }),
    ...(hardOctets !== undefined && { hardOctets }),
    ...(Number.isFinite(packets.soft) && { softPackets: packets.soft }),
    ...(Number.isFinite(packets.hard) && { hardPackets: packets.hard }),
  };
  return Object.keys(limits).length === 0 ? undefined : limits;
}
