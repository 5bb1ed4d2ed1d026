import { constants } from 'node:os';
import { type Native, NativeError, type NetlinkSocket } from '../../native/native.ts';
import { describeFailure, isDone, type XfrmChannel, XfrmError, type XfrmFailure } from './channel.ts';
import {
  decodeEvent,
  decodePolicy,
  decodeState,
  EVENT_GROUPS,
  encodeDump,
  encodeRequest,
  encodeStateQuery,
} from './messages.ts';
import type { InstalledState, XfrmEvent, XfrmPolicy, XfrmRequest, XfrmStateId } from './model.ts';
import {
  type NetlinkAnswer,
  type NetlinkMessage,
  NetlinkType,
  parseAnswer,
  parseMessages,
} from './netlink.ts';

const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** A channel by netlink, to the IPsec of the calling thread's network namespace. @throws NativeError */
export function netlinkChannel(native: Native): XfrmChannel {
  const requests = native.openXfrmNetlink(0);
  try {
    return new NetlinkChannel(requests, native.openXfrmNetlink(EVENT_GROUPS));
  } catch (error) {
    requests.close();
    throw error;
  }
}

/** The kernel carries a request out while it is sent, so requests and answers are synchronous here. */
class NetlinkChannel implements XfrmChannel {
  readonly #requests: NetlinkSocket;
  readonly #events: NetlinkSocket;
  readonly #listeners = new Set<(event: XfrmEvent) => void>();
  #sequence = 0;

  constructor(requests: NetlinkSocket, events: NetlinkSocket) {
    this.#requests = requests;
    this.#events = events;
    events.start((datagram) => this.#receiveEvents(datagram));
  }

  async apply(requests: readonly XfrmRequest[]): Promise<XfrmFailure | undefined> {
    for (const [index, request] of requests.entries()) {
      const refusal = this.#carryOut(request);
      if (refusal !== undefined && !isDone(request, refusal.code)) {
        const { code, text } = refusal;
        return { index, code, error: describeFailure(request, code, text) };
      }
    }
    return undefined;
  }

  async state(id: XfrmStateId): Promise<InstalledState | undefined> {
    const [state] = this.#query((sequence) => encodeStateQuery(id, sequence), decodeState);
    return state;
  }

  async states(): Promise<readonly InstalledState[]> {
    return this.#query((sequence) => encodeDump('states', sequence), decodeState);
  }

  async policies(): Promise<readonly XfrmPolicy[]> {
    return this.#query((sequence) => encodeDump('policies', sequence), decodePolicy);
  }

  onEvent(listener: (event: XfrmEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#requests.close();
    this.#events.close();
  }

  /** Why it was not carried out; undefined if it was. */
  #carryOut(request: XfrmRequest): { readonly code: string; readonly text?: string } | undefined {
    try {
      const sequence = this.#nextSequence();
      const message = encodeRequest(request, sequence);
      this.#requests.send(message);
      message.fill(0); // of keys
      const { errno, text } = this.#answer(sequence, () => {});
      return errno === 0 ? undefined : { code: codeOf(errno), ...(text !== undefined && { text }) };
    } catch (error) {
      if (error instanceof NativeError) return { code: error.code, text: error.message };
      if (error instanceof XfrmError) return { code: 'EPROTO', text: error.message };
      throw error;
    }
  }

  #query<T>(
    encode: (sequence: number) => Uint8Array,
    decode: (message: NetlinkMessage) => T | undefined,
  ): T[] {
    const found: T[] = [];
    const sequence = this.#nextSequence();
    this.#requests.send(encode(sequence));
    const { errno, text } = this.#answer(sequence, (message) => {
      const decoded = decode(message);
      if (decoded !== undefined) found.push(decoded);
    });
    if (errno === 0 || codeOf(errno) === 'ESRCH') return found;
    throw new XfrmError(
      `the kernel does not tell of its IPsec: ${codeOf(errno)}${text === undefined ? '' : ` (${text})`}`,
    );
  }

  /** Reads up to the end of the answer to request `sequence`. @throws XfrmError if there is no end */
  #answer(sequence: number, onMessage: (message: NetlinkMessage) => void): NetlinkAnswer {
    for (;;) {
      const datagram = this.#requests.receive();
      if (datagram === undefined)
        throw new XfrmError('the kernel has not answered a request about its IPsec');
      for (const message of parseMessages(datagram)) {
        if (message.sequence !== sequence) continue;
        const isEnd = message.type === NetlinkType.ERROR || message.type === NetlinkType.DONE;
        const answer = isEnd ? parseAnswer(message) : undefined;
        if (answer !== undefined) return answer;
        onMessage(message);
      }
    }
  }

  #receiveEvents(datagram: Uint8Array | undefined): void {
    const events =
      datagram === undefined ? [{ kind: 'lost' } as const] : parseMessages(datagram).map(decodeEvent);
    for (const event of events) {
      if (event === undefined) continue;
      for (const listener of [...this.#listeners]) listener(event);
    }
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }
}

function codeOf(errno: number): string {
  return ERRNO_NAMES.get(errno) ?? `errno ${errno}`;
}
