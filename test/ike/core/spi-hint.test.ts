import { describe, expect, it } from 'vitest';
import { encodePlain } from '../../../src/ike/message.ts';
import { notify } from '../../../src/ike/payload/index.ts';
import { spiHint, unprotectedSpiHint } from '../../../src/ike/spi-hint.ts';

describe('INVALID_SPI outside of an IKE SA (RFC 7296 1.5)', () => {
  it('is understood by the peer', () => {
    expect(spiHint(unprotectedSpiHint(0xfedcba98))).toBe(0xfedcba98);
  });

  it('is nothing else than that (rule 92)', () => {
    const zeros = new Uint8Array(8);
    const fields = { spiI: zeros, spiR: zeros, flags: { initiator: true, response: false }, messageId: 0 };
    expect(
      spiHint(encodePlain({ ...fields, exchangeType: 37 }, [notify(4, new Uint8Array(4))])),
    ).toBeUndefined();
    expect(
      spiHint(encodePlain({ ...fields, exchangeType: 37 }, [notify(11, new Uint8Array(3))])),
    ).toBeUndefined();
    expect(
      spiHint(encodePlain({ ...fields, exchangeType: 34 }, [notify(11, new Uint8Array(4))])),
    ).toBeUndefined();
    expect(spiHint(new Uint8Array(28))).toBeUndefined();
  });
});
