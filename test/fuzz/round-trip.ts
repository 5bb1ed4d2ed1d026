import { isDeepStrictEqual } from 'node:util';
import { type DecodedPlain, type DecodedProtected, decodePlain, encodePlain } from '../../src/ike/message.ts';
import type { Payload } from '../../src/ike/payload/index.ts';
import { Violation } from './laws.ts';

/** What was decoded must say the same when it is encoded and decoded again. @throws Violation */
export function expectRoundTrip(decoded: DecodedPlain | DecodedProtected): void {
  if (decoded.kind !== 'ok' || !decoded.payloads.every(isWhole)) return;
  const again = decodePlain(encodePlain({ ...decoded.header, spiI: ANY_SPI }, decoded.payloads));
  if (again.kind !== 'ok') throw new Violation(`what was decoded does not decode again: ${again.kind}`);
  if (!isDeepStrictEqual(again.payloads, decoded.payloads)) {
    throw new Violation('what was decoded says something else when it is encoded and decoded again');
  }
}

const ANY_SPI = new Uint8Array(8).fill(1);

/** Whether nothing of it was left out: transform attributes and selector types that nobody interprets are not kept. */
function isWhole(payload: Payload): boolean {
  switch (payload.kind) {
    case 'SA':
      return payload.proposals.every(({ transforms }) => transforms.every((t) => t.unsupported !== true));
    case 'TSi':
    case 'TSr':
      return payload.selectors.length > 0;
    default:
      return true;
  }
}
