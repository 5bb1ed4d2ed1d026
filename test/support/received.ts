import type { LinkHandlers, Origin } from '../../src/link/link.ts';
import { packetBytes } from '../../src/link/packet.ts';

/** Link handlers that collect what is delivered. */
export interface Received extends LinkHandlers {
  readonly ikeMessages: { readonly bytes: Uint8Array; readonly origin: Origin }[];
  readonly espPackets: { readonly bytes: Uint8Array; readonly origin: Origin }[];
}

export function received(): Received {
  const ikeMessages: Received['ikeMessages'] = [];
  const espPackets: Received['espPackets'] = [];
  return {
    ikeMessages,
    espPackets,
    ike: (bytes, origin) => ikeMessages.push({ bytes, origin }),
    esp: (packets, origin) => {
      for (const packet of packets) espPackets.push({ bytes: packetBytes(packet).slice(), origin });
    },
  };
}
