import { peekHeader } from '../../src/ike/message.ts';
import { PayloadType } from '../../src/ike/payload/index.ts';
import type { CaptureSocket } from '../../src/native/native.ts';
import { type Address, addressText } from '../../src/wire/address.ts';
import { IpProtocol, parseIpHeader } from '../../src/wire/ip.ts';
import { native, within } from '../support/namespaces.ts';
import { ADDRESSES, type World } from './world.ts';

const ETHERNET = 14;
const NON_ESP_MARKER = '0,0,0,0';

/** An IP packet on the wire in front of our host. */
interface Seen {
  readonly source: Address;
  /** The octet of DSCP and ECN. */
  readonly trafficClass: number;
  readonly kind: 'ike' | 'esp' | 'esp in UDP' | 'keepalive';
  /** The IKE message or the ESP packet. */
  readonly content: Uint8Array;
}

/** What is on the wire in front of our host, IKE and ESP, as anybody there reads it. */
export class Traffic {
  readonly packets: Seen[] = [];
  readonly #socket: CaptureSocket;
  readonly #ours: readonly Address[];

  constructor({ ours, ourAddress }: World) {
    this.#ours = [ourAddress[4], ourAddress[6], ADDRESSES.moved.ours];
    this.#socket = within(ours, () => native().openCapture('wan'));
    this.#socket.start(({ bytes }) => {
      const seen = dissect(bytes);
      if (seen !== undefined) this.packets.push(seen);
    });
  }

  /** Those of one end. */
  of(end: 'ours' | 'theirs', kind?: Seen['kind']): Seen[] {
    return this.packets.filter(
      (seen) =>
        this.#ours.includes(seen.source) === (end === 'ours') && (kind === undefined || seen.kind === kind),
    );
  }

  /** How many of its messages, in which there is something in the clear, have this payload type first. */
  messagesWith(end: 'ours' | 'theirs', payload: number): number {
    return this.of(end, 'ike').filter(({ content }) => peekHeader(content)?.nextPayload === payload).length;
  }

  /** Its requests, also those that are sent again; those of one exchange, if it is said. */
  requests(end: 'ours' | 'theirs', exchange?: number): Uint8Array[] {
    return this.#messages(end, exchange, false);
  }

  /** The same of responses. */
  responses(end: 'ours' | 'theirs', exchange?: number): Uint8Array[] {
    return this.#messages(end, exchange, true);
  }

  #messages(end: 'ours' | 'theirs', exchange: number | undefined, response: boolean): Uint8Array[] {
    const messages = this.of(end, 'ike').map(({ content }) => content);
    return messages.filter((message) => {
      const header = peekHeader(message);
      if (header === undefined || header.flags.response !== response) return false;
      return exchange === undefined || header.exchangeType === exchange;
    });
  }

  /** IKE fragments (RFC 7383). */
  fragments(end: 'ours' | 'theirs'): number {
    return this.messagesWith(end, PayloadType.SKF);
  }

  /** The types of notifies with which its unprotected messages begin; on a slow machine a message is answered twice. */
  notifies(end: 'ours' | 'theirs'): number[] {
    const types = this.of(end, 'ike').flatMap(({ content }) =>
      peekHeader(content)?.nextPayload === PayloadType.NOTIFY ? [(content[34] << 8) | content[35]] : [],
    );
    return [...new Set(types)];
  }

  close(): void {
    this.#socket.close();
  }
}

function dissect(frame: Uint8Array): Seen | undefined {
  const ip = parseIpHeader(frame, ETHERNET, frame.length);
  if (ip === undefined) return undefined;
  const source = addressText(frame.subarray(ip.source, ip.destination));
  const trafficClass =
    ip.family === 4 ? frame[ETHERNET + 1] : ((frame[ETHERNET] << 4) | (frame[ETHERNET + 1] >> 4)) & 0xff;
  const seen = { source, trafficClass };
  if (ip.protocol === IpProtocol.ESP)
    return { ...seen, kind: 'esp', content: frame.slice(ip.payload, ip.end) };
  if (ip.protocol !== IpProtocol.UDP) return undefined;
  // Not checked: checksums of what this host sends are left to the device, which is none.
  const ports = [0, 2].map((at) => (frame[ip.payload + at] << 8) | frame[ip.payload + at + 1]);
  const content = frame.slice(ip.payload + 8, ip.end);
  if (ports.includes(500)) return { ...seen, kind: 'ike', content };
  if (!ports.includes(4500)) return undefined;
  if (content.length === 1) return { ...seen, kind: 'keepalive', content };
  return String(content.subarray(0, 4)) === NON_ESP_MARKER
    ? { ...seen, kind: 'ike', content: content.subarray(4) }
    : { ...seen, kind: 'esp in UDP', content };
}
