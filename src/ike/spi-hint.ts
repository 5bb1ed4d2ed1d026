import { ExchangeType, NotifyType } from './constants.ts';
import { decodePlain, encodePlain } from './message.ts';
import { notify } from './payload/index.ts';
import { findNotify } from './payloads.ts';

// RFC 7296 1.5: HDR, N(INVALID_SPI), outside of any IKE SA: a one-way message that its receiver may only take as a hint.

const NO_SPI = new Uint8Array(8);
const UNPROTECTED_REFUSALS = [NotifyType.INVALID_IKE_SPI, NotifyType.INVALID_MAJOR_VERSION];

/** The message that tells a peer that ESP arrived for an SPI that we do not have. */
export function unprotectedSpiHint(spi: number): Uint8Array {
  const data = new Uint8Array(4);
  new DataView(data.buffer).setUint32(0, spi);
  return encodePlain(
    {
      spiI: NO_SPI,
      spiR: NO_SPI,
      exchangeType: ExchangeType.INFORMATIONAL,
      flags: { initiator: true, response: false },
      messageId: 0,
    },
    [notify(NotifyType.INVALID_SPI, data)],
  );
}

/**
 * The error with which a peer says, outside of the IKE SA, that it cannot make anything of our request (RFC 7296 1.5, 2.5):
 * INVALID_IKE_SPI or INVALID_MAJOR_VERSION; undefined for every other message.
 */
export function refusalHint(message: Uint8Array): number | undefined {
  const decoded = decodePlain(message);
  if (decoded.kind !== 'ok') return undefined;
  return UNPROTECTED_REFUSALS.find((type) => findNotify(decoded.payloads, type) !== undefined);
}

/** The SPI that such a message names; undefined for every other message. */
export function spiHint(message: Uint8Array): number | undefined {
  const decoded = decodePlain(message);
  if (decoded.kind !== 'ok' || decoded.header.exchangeType !== ExchangeType.INFORMATIONAL) return undefined;
  for (const payload of decoded.payloads) {
    if (payload.kind === 'NOTIFY' && payload.type === NotifyType.INVALID_SPI && payload.data.length === 4) {
      return new DataView(payload.data.buffer, payload.data.byteOffset).getUint32(0);
    }
  }
  return undefined;
}
