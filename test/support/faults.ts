import type { Clock } from '../../src/link/clock.ts';
import type { Link } from '../../src/link/link.ts';
import { packetBytes, packetFrom } from '../../src/link/packet.ts';

/** What passed, in which direction as seen from the link's user, before its fate was decided. */
export interface Passage {
  readonly direction: 'sent' | 'received';
  readonly kind: 'ike' | 'esp';
  /** Its number among all passages of this link, from 0. */
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** Milliseconds after which each copy goes on: [] drops it, [0] passes it, [0, 0] duplicates, [20] delays and reorders. */
export type Fate = readonly number[];

/** A link that has every passage decided by `fate`, and a record of them. */
export function faulty(
  link: Link,
  clock: Clock,
  fate: (passage: Passage) => Fate,
): { readonly link: Link; readonly passages: readonly Passage[] } {
  const passages: Passage[] = [];
  const pass = (
    direction: Passage['direction'],
    kind: Passage['kind'],
    bytes: Uint8Array,
    deliver: (copy: Uint8Array) => void,
  ) => {
    const passage = { direction, kind, index: passages.length, bytes: bytes.slice() };
    passages.push(passage);
    for (const delay of fate(passage)) {
      const go = () => deliver(passage.bytes.slice());
      if (delay === 0) go();
      else clock.at(clock.now() + delay, go);
    }
  };
  const wrapped: Link = {
    id: link.id,
    mtu: link.mtu,
    origin: (address, encapsulated) => link.origin(address, encapsulated),
    async attach(handlers) {
      const attachment = await link.attach({
        ike: (message, origin) => pass('received', 'ike', message, (copy) => handlers.ike(copy, origin)),
        esp: (packets, origin) => {
          for (const packet of packets) {
            pass('received', 'esp', packetBytes(packet), (copy) => handlers.esp([packetFrom(copy)], origin));
          }
        },
      });
      return {
        sendIke: (message, to) => pass('sent', 'ike', message, (copy) => attachment.sendIke(copy, to)),
        sendEsp: (packets, to) => {
          for (const packet of packets) {
            pass('sent', 'esp', packetBytes(packet), (copy) => attachment.sendEsp([packetFrom(copy)], to));
          }
        },
        close: () => attachment.close(),
      };
    },
  };
  return { link: wrapped, passages };
}
