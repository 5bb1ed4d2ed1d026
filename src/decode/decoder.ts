import { Reassembly, type ReceivedFragment } from '../ike/fragmentation.ts';
import { decodeHeader, HEADER_LENGTH, type IkeHeader, MAJOR_VERSION } from '../ike/header.ts';
import { PayloadType } from '../ike/payload/index.ts';
import { concat, hex } from '../wire/bytes.ts';
import { Reader } from '../wire/reader.ts';
import type { CapturedFrame } from './capture-file.ts';
import { openEncrypted } from './ciphers.ts';
import { hasPort, type UdpDatagram, type UdpEnd, udpDatagram } from './datagram.ts';
import { type KeyTable, saName } from './key-table-file.ts';
import { describeChain, type EncryptedPayload, type JsonObject } from './payload-description.ts';
import { EXCHANGE_NAMES, registeredName } from './registries.ts';

/** An IKE message of a capture; what is missing could not be read, and `error` says why. */
export interface DecodedMessage {
  readonly frame: number;
  /** RFC 3339, UTC; null if the capture does not say. */
  readonly time: string | null;
  readonly source: UdpEnd;
  readonly destination: UdpEnd;
  /** In hex. */
  readonly spiI?: string;
  readonly spiR?: string;
  readonly exchange?: string;
  readonly flags?: IkeHeader['flags'];
  readonly messageId?: number;
  /** Whether `payloads` were in an Encrypted payload that has been opened. */
  readonly decrypted: boolean;
  /** Whether the ICV is right; null without one, without keys, or with an algorithm that is not known. */
  readonly icv: boolean | null;
  /** Of an Encrypted Fragment payload (RFC 7383). */
  readonly fragment?: { readonly number: number; readonly total: number };
  /** The frames whose fragments make up `payloads`. */
  readonly reassembled?: readonly number[];
  readonly payloads: readonly JsonObject[];
  readonly error?: string;
}

const IKE_PORT = 500;
const NAT_T_PORT = 4500;
const KEEPALIVE = 0xff;

/** Fragment Number and Total Fragments (RFC 7383 2.5). */
const FRAGMENT_HEADER = 4;

/** Reads the IKE messages of a capture's frames, in their order. */
export class Decoder {
  readonly #keys: KeyTable;
  /** Of each message whose fragments there are. */
  readonly #reassemblies = new Map<string, Reassembly<Part>>();

  constructor(keys: KeyTable) {
    this.#keys = keys;
  }

  /** The message in a frame; undefined if there is none. Never throws. */
  decode(frame: CapturedFrame): DecodedMessage | undefined {
    const datagram = udpDatagram(frame.linkType, frame.bytes);
    const message = datagram && ikeMessage(datagram);
    if (message === undefined) return undefined;
    const { source, destination } = datagram!;
    const place = { frame: frame.number, time: timeText(frame.time), source, destination };
    return { ...place, ...this.#read(message, frame.number, datagram!.error) };
  }

  #read(message: Uint8Array, frame: number, datagramError: string | undefined): Content {
    if (message.length < HEADER_LENGTH) {
      return unread(datagramError ?? `${message.length} octets are less than an IKE header`);
    }
    const header = decodeHeader(new Reader(message, 'IKE header'));
    const named = {
      spiI: hex(header.spiI),
      spiR: hex(header.spiR),
      exchange: registeredName(EXCHANGE_NAMES, header.exchangeType),
      flags: header.flags,
      messageId: header.messageId,
    };
    if (datagramError !== undefined) return { ...named, ...unread(datagramError) };
    if (header.majorVersion !== MAJOR_VERSION) {
      const version = `${header.majorVersion}.${header.minorVersion}`;
      return { ...named, ...unread(`IKE version ${version}, of which only the header is read`) };
    }
    if (header.length !== message.length) {
      const lengths = `the header says ${header.length} octets, but the datagram has ${message.length}`;
      return { ...named, ...unread(lengths) };
    }
    const chain = describeChain(header.nextPayload, message, HEADER_LENGTH);
    const plain = { decrypted: false, icv: null, payloads: chain.payloads, ...errorOf(chain.error) };
    if (chain.encrypted === undefined) return { ...named, ...plain };
    return { ...named, ...plain, ...this.#open(message, header, frame, plain.payloads, chain.encrypted) };
  }

  /** @param payloads - those of the message, of which the last one is the Encrypted payload */
  #open(
    message: Uint8Array,
    header: IkeHeader,
    frame: number,
    payloads: readonly JsonObject[],
    { type, next, offset }: EncryptedPayload,
  ): Partial<Content> {
    const isFragment = type === PayloadType.SKF;
    if (isFragment && message.length < offset + FRAGMENT_HEADER)
      return { error: 'a fragment without its numbers' };
    const view = new DataView(message.buffer, message.byteOffset);
    const fragment = isFragment
      ? { number: view.getUint16(offset), total: view.getUint16(offset + 2) }
      : undefined;
    const numbers = fragment && { fragment };
    const candidates = this.#keys.get(saName(header.spiI, header.spiR));
    if (candidates === undefined) return { ...numbers };
    const attempts = candidates.map(({ initiator, responder }) =>
      openEncrypted(
        message,
        offset + (fragment ? FRAGMENT_HEADER : 0),
        header.flags.initiator ? initiator : responder,
      ),
    );
    const opened = attempts.find(({ icv }) => icv === true) ?? attempts[0];
    if (!('text' in opened)) return { ...numbers, ...opened };
    const { icv, text } = opened;
    const part = { frame, next, text };
    const parts = fragment ? this.#add(messageName(header), { ...part, ...fragment }) : [part];
    if (typeof parts === 'string') return { ...numbers, icv, decrypted: true, error: parts };
    if (parts === undefined) return { ...numbers, icv, decrypted: true };
    const inner = describeChain(parts[0].next, concat(...parts.map((each) => each.text)), 0);
    return {
      ...numbers,
      ...(fragment && { reassembled: parts.map((each) => each.frame) }),
      icv,
      decrypted: true,
      payloads: [...payloads.slice(0, -1), ...inner.payloads],
      ...errorOf(inner.encrypted ? 'an encrypted payload in an encrypted payload' : inner.error),
    };
  }

  /** All the parts of a message, if none is missing any more; or why this one is not taken. */
  #add(message: string, part: Part): readonly Part[] | string | undefined {
    let reassembly = this.#reassemblies.get(message);
    if (reassembly === undefined) {
      reassembly = new Reassembly();
      this.#reassemblies.set(message, reassembly);
    }
    if (reassembly.holds(part)) return undefined;
    return reassembly.refusal(part) ?? reassembly.add(part);
  }
}

/** A fragment, and the frame that it was in. */
interface Part extends ReceivedFragment {
  readonly frame: number;
  readonly next: number;
}

type Content = Omit<DecodedMessage, 'frame' | 'time' | 'source' | 'destination'>;

function unread(error: string): Pick<Content, 'decrypted' | 'icv' | 'payloads' | 'error'> {
  return { decrypted: false, icv: null, payloads: [], error };
}

function errorOf(error: string | undefined): { readonly error?: string } {
  return error === undefined ? {} : { error };
}

/** The IKE message in a datagram: on port 4500 after the non-ESP marker (RFC 3948 2.2), and not a NAT keepalive. */
function ikeMessage(datagram: UdpDatagram): Uint8Array | undefined {
  const { payload } = datagram;
  if (payload.length === 1 && payload[0] === KEEPALIVE) return undefined;
  if (hasPort(datagram, NAT_T_PORT)) {
    const marked = payload.length >= 4 && payload.subarray(0, 4).every((octet) => octet === 0);
    return marked ? payload.subarray(4) : undefined;
  }
  return hasPort(datagram, IKE_PORT) ? payload : undefined;
}

function messageName({ spiI, spiR, exchangeType, flags, messageId }: IkeHeader): string {
  return [hex(spiI), hex(spiR), exchangeType, flags.initiator, flags.response, messageId].join(' ');
}

/** The last moment that a Date can tell, in milliseconds. */
const LAST_DATE = 8_640_000_000_000_000n;

function timeText(time: bigint | undefined): string | null {
  if (time === undefined || time < 0n || time / 1_000_000n > LAST_DATE) return null;
  const seconds = new Date(Number(time / 1_000_000n)).toISOString().slice(0, -'.000Z'.length);
  const fraction = String(time % 1_000_000_000n).padStart(9, '0');
  return `${seconds}.${fraction.endsWith('000') ? fraction.slice(0, 6) : fraction}Z`;
}
