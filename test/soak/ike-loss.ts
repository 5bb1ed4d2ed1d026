import type { Link } from '../../src/link/link.ts';

/** What becomes of an IKE message: whether it goes on. */
export type Fate = (message: Uint8Array, direction: 'sent' | 'received') => boolean;

/** A link that loses IKE messages, and nothing else. */
export function losingIke(link: Link, fate: Fate): Link {
  return {
    id: link.id,
    mtu: link.mtu,
    origin: (address, encapsulated) => link.origin(address, encapsulated),
    async attach(handlers) {
      const attachment = await link.attach({
        ike: (message, origin) => {
          if (fate(message, 'received')) handlers.ike(message, origin);
        },
        esp: (packets, origin) => handlers.esp(packets, origin),
      });
      return {
        ...attachment,
        sendIke: (message, to) => {
          if (fate(message, 'sent')) attachment.sendIke(message, to);
        },
        sendEsp: (packets, to) => attachment.sendEsp(packets, to),
        close: () => attachment.close(),
      };
    },
  };
}
