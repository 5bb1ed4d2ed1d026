import type { Protector } from '../crypto/provider.ts';
import type { Origin } from '../link/link.ts';
import { familyOf } from '../wire/address.ts';
import { ipHeaderLength } from '../wire/ip.ts';
import { type Content, type FragmentNumbers, fragmentRoom, GENERIC_HEADER } from './encrypted.ts';

/** More fragments than this are not put together; a message of 64 kB in IP packets of 576 octets has 135. */
export const MAX_FRAGMENTS = 192;
/** Octets of content that are put together: as much as one SK payload has room for. */
export const MAX_REASSEMBLED = 0xffff - GENERIC_HEADER;

/** The size of IP packet that is sure to pass, where nothing is known of the path (RFC 7383 2.5.1). */
const SAFE_PACKET = { 4: 576, 6: 1280 } as const;
/** What is sure not to pass as one packet, where nothing is known of the path. */
const ETHERNET_MTU = 1500;

const UDP_HEADER = 8;
const NON_ESP_MARKER = 4;

/**
 * The longest message that is sent to `to` in one piece. A whole request is answered whole (RFC 7383 2.4), but for an
 * answer that the network would have to cut up itself.
 * @param pathMtu - the largest IP packet that the path carries, if that is known
 * @param toWhole - what is sent answers a request that was not fragmented
 */
export function longestMessage(to: Origin, pathMtu: number | undefined, toWhole: boolean): number {
  const family = familyOf(to.address);
  const packet = pathMtu ?? (toWhole ? ETHERNET_MTU : SAFE_PACKET[family]);
  return packet - ipHeaderLength(family) - UDP_HEADER - (to.encapsulated ? NON_ESP_MARKER : 0);
}

/** A part of a message's content, with its numbers. */
export interface Fragment extends FragmentNumbers {
  readonly content: Content;
}

/**
 * Cuts the content of a message that is too long into fragments (RFC 7383 2.5).
 * @param longest - octets of each message
 * @throws RangeError if there is no room for content
 */
export function fragments({ first, bytes }: Content, longest: number, protector: Protector): Fragment[] {
  const room = fragmentRoom(longest, protector);
  if (room < 1) throw new RangeError(`a message of ${longest} octets has no room for a fragment`);
  const total = Math.ceil(bytes.length / room);
  return Array.from({ length: total }, (_, index) => ({
    number: index + 1,
    total,
    content: { first: index === 0 ? first : 0, bytes: bytes.subarray(index * room, (index + 1) * room) },
  }));
}

/** What is kept of a received fragment. */
export interface ReceivedFragment extends FragmentNumbers {
  /** Its content, as a copy. */
  readonly text: Uint8Array;
}

/**
 * Puts the fragments of one message together (RFC 7383 2.6). `holds` and `refusal` are asked before a fragment is decrypted,
 * and only one whose ICV is right is added: nobody else changes anything.
 */
export class Reassembly<F extends ReceivedFragment> {
  readonly #fragments = new Map<number, F>();
  #total = 0;
  #octets = 0;

  /** Whether it is here already. */
  holds({ number, total }: FragmentNumbers): boolean {
    return total === this.#total && this.#fragments.has(number);
  }

  /** Why a fragment is not even to be decrypted; undefined if it is. */
  refusal({ number, total }: FragmentNumbers): string | undefined {
    if (number === 0 || number > total) return `fragment ${number} of ${total}`;
    if (total > MAX_FRAGMENTS) return `a message of ${total} fragments`;
    if (total < this.#total) return `a set of ${this.#total} fragments has replaced that of ${total}`;
    return undefined;
  }

  /** Takes an authentic fragment that is not here yet and was not refused. All of them, in order, if none is missing any more. */
  add(fragment: F): readonly F[] | undefined {
    if (fragment.total > this.#total) {
      // A sender that has found a smaller path MTU starts anew.
      this.#fragments.clear();
      this.#octets = 0;
      this.#total = fragment.total;
    }
    if (this.#octets + fragment.text.length > MAX_REASSEMBLED) return undefined;
    this.#octets += fragment.text.length;
    this.#fragments.set(fragment.number, fragment);
    if (this.#fragments.size < this.#total) return undefined;
    return [...this.#fragments.values()].sort((a, b) => a.number - b.number);
  }
}
