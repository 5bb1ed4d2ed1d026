import { createConnection, type Socket } from 'node:net';
import { concat, utf8 } from '../../../src/wire/bytes.ts';
import { Reader } from '../../../src/wire/reader.ts';
import { Writer } from '../../../src/wire/writer.ts';
import { DaemonError } from './daemon.ts';

/** A message of strongSwan's control protocol, VICI: values are text or octets, in lists or sections. */
export interface Section {
  readonly [name: string]: Value;
}
type Value = string | Uint8Array | readonly (string | Uint8Array)[] | Section;

/** A message as it is received: values are text. */
export interface ReceivedSection {
  readonly [name: string]: string | readonly string[] | ReceivedSection;
}

const PacketType = { REQUEST: 0, RESPONSE: 1, REGISTER: 3, CONFIRM: 5, EVENT: 7 } as const;

const Element = {
  SECTION_START: 1,
  SECTION_END: 2,
  KEY_VALUE: 3,
  LIST_START: 4,
  LIST_ITEM: 5,
  LIST_END: 6,
} as const;

/** The answer to a request, and the events that came before it. */
export interface Answer {
  readonly response: ReceivedSection;
  readonly events: readonly ReceivedSection[];
}

/**
 * Sends one request to the daemon that listens at `path`, and collects events called `event` until it is answered.
 * @throws DaemonError if there is nobody, if it does not know the request, or if it answers that it failed
 */
export async function vici(
  path: string,
  request: string,
  message: Section = {},
  event?: string,
): Promise<Answer> {
  const socket = createConnection(path);
  try {
    if (event !== undefined) socket.write(packet(PacketType.REGISTER, event, {}));
    socket.write(packet(PacketType.REQUEST, request, message));
    const events: ReceivedSection[] = [];
    for await (const reader of packetsOf(socket)) {
      const type = reader.u8();
      if (type === PacketType.CONFIRM) continue;
      if (type === PacketType.EVENT) {
        text(reader, reader.u8());
        events.push(decode(reader));
      } else if (type === PacketType.RESPONSE) {
        const response = decode(reader);
        if (response.success === 'no') throw new DaemonError(`${request}: ${response.errmsg}`);
        return { response, events };
      } else {
        throw new DaemonError(`${request}: the daemon does not know it`);
      }
    }
    throw new DaemonError(`${request}: the daemon hung up`);
  } catch (error) {
    throw error instanceof DaemonError ? error : new DaemonError(`${request}: ${(error as Error).message}`);
  } finally {
    socket.destroy();
  }
}

/** Packets have their length before them, 4 octets. */
function packet(type: number, request: string, message: Section): Uint8Array {
  const writer = new Writer().u8(type);
  named(writer, request);
  encode(writer, message);
  const body = writer.finish();
  return new Writer().u32(body.length).bytes(body).finish();
}

async function* packetsOf(socket: Socket): AsyncGenerator<Reader> {
  let pending: Uint8Array = new Uint8Array(0);
  for await (const chunk of socket) {
    pending = concat(pending, chunk as Uint8Array);
    while (pending.length >= 4) {
      const reader = new Reader(pending, 'VICI');
      const length = reader.u32();
      if (reader.remaining < length) break;
      yield reader.sub(length, 'VICI packet');
      pending = pending.slice(4 + length);
    }
  }
}

function encode(writer: Writer, section: Section): void {
  for (const [name, value] of Object.entries(section)) {
    if (typeof value === 'string' || value instanceof Uint8Array) {
      sized(named(writer.u8(Element.KEY_VALUE), name), value);
    } else if (isList(value)) {
      named(writer.u8(Element.LIST_START), name);
      for (const item of value) sized(writer.u8(Element.LIST_ITEM), item);
      writer.u8(Element.LIST_END);
    } else {
      encode(named(writer.u8(Element.SECTION_START), name), value);
      writer.u8(Element.SECTION_END);
    }
  }
}

function isList(
  value: readonly (string | Uint8Array)[] | Section,
): value is readonly (string | Uint8Array)[] {
  return Array.isArray(value);
}

function named(writer: Writer, name: string): Writer {
  const octets = utf8(name);
  return writer.u8(octets.length).bytes(octets);
}

function sized(writer: Writer, value: string | Uint8Array): void {
  const octets = typeof value === 'string' ? utf8(value) : value;
  writer.u16(octets.length).bytes(octets);
}

/** The elements up to the end of this section, or of the packet. */
function decode(reader: Reader): ReceivedSection {
  const section: Record<string, string | readonly string[] | ReceivedSection> = {};
  while (reader.remaining > 0) {
    const type = reader.u8();
    if (type === Element.SECTION_END) break;
    const name = text(reader, reader.u8());
    if (type === Element.SECTION_START) section[name] = decode(reader);
    else if (type === Element.KEY_VALUE) section[name] = text(reader, reader.u16());
    else section[name] = items(reader);
  }
  return section;
}

function items(reader: Reader): readonly string[] {
  const list: string[] = [];
  while (reader.u8() === Element.LIST_ITEM) list.push(text(reader, reader.u16()));
  return list;
}

function text(reader: Reader, length: number): string {
  return new TextDecoder().decode(reader.bytes(length));
}
