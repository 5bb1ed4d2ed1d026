import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { NotifyType } from '../../src/ike/constants.ts';
import { encodePlain, peekHeader } from '../../src/ike/message.ts';
import { notify, type Payload } from '../../src/ike/payload/index.ts';
import { findNotify } from '../../src/ike/payloads.ts';
import { fromHex } from '../../src/wire/bytes.ts';
import { accomplice } from '../support/accomplice.ts';
import { mirror, TO_RESPONDER } from '../support/ike-configs.ts';

const { NAT_DETECTION_SOURCE_IP: SOURCE, NAT_DETECTION_DESTINATION_IP: DESTINATION } = NotifyType;
/** 198.51.100.1 and 198.51.100.2, port 500. */
const INITIATOR = fromHex('c633640101f4');
const RESPONDER = fromHex('c633640201f4');

/** SHA-1 of SPIi | SPIr of a message's header, and of an address and a port. */
function digest(message: Uint8Array, where: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha1').update(message.subarray(0, 16)).update(where).digest());
}

describe('NAT detection', () => {
  it('hashes the SPIs of its header, SPIr 0 in the request, then address and port (rule 71)', () => {
    const { pair, crypto } = accomplice(1, { initiator: { natDetection: true } });
    pair.run(1000);
    const [request, response] = pair.sent.map(({ message }) => message);
    expect(request.subarray(8, 16)).toEqual(new Uint8Array(8));
    expect(response.subarray(8, 16)).not.toEqual(new Uint8Array(8));
    for (const [message, from, to] of [
      [request, INITIATOR, RESPONDER],
      [response, RESPONDER, INITIATOR],
    ]) {
      const payloads = crypto.read(message);
      expect(findNotify(payloads, SOURCE)?.data).toEqual(digest(message, from));
      expect(findNotify(payloads, DESTINATION)?.data).toEqual(digest(message, to));
    }
  });

  it.each([
    ['the only', [RESPONDER], 500],
    ['the last', [fromHex('0a00000101f4'), fromHex('0a00000201f4'), RESPONDER], 500],
    ['the first', [RESPONDER, fromHex('0a00000101f4')], 500],
    ['none', [fromHex('0a00000101f4'), fromHex('0a00000201f4')], 4500],
  ])('finds no NAT if %s of the sources is where the message came from (rule 71)', (_, sources, port) => {
    const { pair, crypto } = accomplice(2, { initiator: { natDetection: true } });
    pair.network = ({ from }) => (from === 'initiator' ? [20] : []);
    pair.run(100);
    const { message } = pair.sent[1];
    const payloads = crypto
      .read(message)
      .flatMap((payload): Payload[] =>
        payload.kind === 'NOTIFY' && payload.type === SOURCE
          ? sources.map((where) => notify(SOURCE, digest(message, where)))
          : [payload],
      );
    const response = encodePlain(peekHeader(message)!, payloads);
    pair.call(pair.initiator, (ike, now) => ike.handleDatagram(response, mirror(TO_RESPONDER), now));
    pair.run(10);
    expect(pair.sent.at(-1)).toMatchObject({ from: 'initiator', to: { port } });
    expect(pair.sent.at(-1)!.message[18]).toBe(35);
  });
});
