import { describe, expect, it } from 'vitest';
import { parseEvent, parseOrder } from '../../src/client/protocol.ts';

describe('the protocol between launcher and inside', () => {
  it.each([undefined, null, {}, { type: 'run' }, { type: 'run', command: [] }, { type: 'extend', path: [] }])(
    'refuses the order %j',
    (message) => {
      expect(() => parseOrder(message)).toThrow();
    },
  );

  it.each([undefined, 7, {}, { event: 'hop', hop: '1' }, { event: 'unheard-of' }])(
    'refuses the event %j',
    (message) => {
      expect(() => parseEvent(message)).toThrow();
    },
  );

  it('keeps octets and drops what it does not know', () => {
    const relay = {
      name: 'A',
      publicKey: Uint8Array.of(1, 2),
      addresses: { ip4: '192.0.2.1' },
      pools: { ip4: { family: 4, bytes: Uint8Array.of(10, 0, 0, 0), length: 8 } },
      overlayMtu: 1446,
    };
    const order = {
      type: 'extend',
      path: [{ ...relay, exit: true }],
      host: {
        address: '192.0.2.9',
        entry: '198.51.100.1',
        mtu: 1500,
        ikePort: 1,
        encapsulatedPort: 2,
        rawEsp: true,
      },
      encapsulated: false,
      innerMtu: 'max',
      hopTimeout: 1000,
      tunInherited: false,
      kernel: false,
    };
    expect(parseOrder(order)).toEqual({ ...order, path: [relay] });
  });
});
