import { concat } from '../wire/bytes.ts';

/** A verified Encrypted Fragment (RFC 7383 2.5). */
export interface Fragment {
  readonly frame: number;
  readonly number: number;
  readonly total: number;
  /** Next Payload: type of the first payload of the content, in the first fragment. */
  readonly next: number;
  readonly text: Uint8Array;
}

/** The content of all fragments of a message. */
export interface Reassembled {
  readonly next: number;
  readonly text: Uint8Array;
  /** Where the fragments were. */
  readonly frames: readonly number[];
}

interface Queue {
  total: number;
  readonly fragments: Map<number, Fragment>;
}

/** Puts together the fragments of messages (RFC 7383 2.6). */
export class Reassembly {
  readonly #queues = new Map<string, Queue>();

  /**
   * @param message - what the fragments of one message have in common
   * @returns the message if this was the last fragment that was missing; why the fragment is not taken
   */
  add(message: string, fragment: Fragment): Reassembled | { readonly error: string } | undefined {
    const { number, total } = fragment;
    if (number === 0 || number > total) return { error: `fragment ${number} of ${total}` };
    let queue = this.#queues.get(message);
    if (queue === undefined || total > queue.total) {
      // A sender that found a smaller path MTU starts over with more fragments.
      queue = { total, fragments: new Map() };
      this.#queues.set(message, queue);
    }
    if (total < queue.total) return { error: `a set of ${queue.total} fragments has replaced this one` };
    if (queue.fragments.has(number)) return undefined;
    queue.fragments.set(number, fragment);
    if (queue.fragments.size < total) return undefined;
    const parts = [...queue.fragments.values()].sort((a, b) => a.number - b.number);
    return {
      next: parts[0].next,
      text: concat(...parts.map(({ text }) => text)),
      frames: parts.map(({ frame }) => frame),
    };
  }
}
