import { describe, expect, it } from 'vitest';
import type { Link, LinkHandlers } from '../../src/link/link.ts';
import { packetFrom } from '../../src/link/packet.ts';
import { type Fate, faulty } from '../support/faults.ts';
import { received } from '../support/received.ts';

/** A link that delivers at once what is sent on it. */
function mirror(): Link {
  const origin = (address: string, encapsulated: boolean) => ({
    linkId: 'mirror',
    address,
    port: 500,
    localAddress: '10.0.0.1',
    localPort: 500,
    encapsulated,
  });
  return {
    id: 'mirror',
    mtu: 1500,
    origin,
    attach: async (handlers: LinkHandlers) => ({
      sendIke: (message, to) => handlers.ike(message, to),
      sendEsp: (packets, to) => handlers.esp(packets, to),
      close: async () => {},
    }),
  };
}

describe('faulty link', () => {
  it('drops, duplicates, delays and reorders as told, and records everything', async () => {
    const due: { at: number; callback: () => void }[] = [];
    const clock = {
      now: () => 1000,
      at: (at: number, callback: () => void) => {
        due.push({ at, callback });
        return () => {};
      },
    };
    const fates: Fate[] = [[], [0, 0], [20], [0]];
    const { link, passages } = faulty(mirror(), clock, ({ direction, bytes }) =>
      direction === 'sent' ? fates[bytes[0]] : [0],
    );
    const at = received();
    const attached = await link.attach(at);
    const to = link.origin('10.0.0.2', false);
    for (const octet of [0, 1, 2, 3]) attached.sendIke(Uint8Array.of(octet), to);
    expect(at.ikeMessages.map(({ bytes }) => bytes[0])).toEqual([1, 1, 3]);
    expect(due.map((entry) => entry.at)).toEqual([1020]);
    due[0].callback();
    expect(at.ikeMessages.map(({ bytes }) => bytes[0])).toEqual([1, 1, 3, 2]);
    attached.sendEsp([packetFrom(Uint8Array.of(3)), packetFrom(Uint8Array.of(1))], to);
    expect(at.espPackets.map(({ bytes }) => bytes[0])).toEqual([3, 1, 1]);
    expect(passages.map(({ direction, bytes }) => `${direction} ${bytes[0]}`)).toEqual([
      'sent 0',
      'sent 1',
      'received 1',
      'received 1',
      'sent 2',
      'sent 3',
      'received 3',
      'received 2',
      'sent 3',
      'received 3',
      'sent 1',
      'received 1',
      'received 1',
    ]);
    await attached.close();
  });
});
