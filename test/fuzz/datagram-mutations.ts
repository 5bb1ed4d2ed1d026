import { ExchangeType, NotifyType } from '../../src/ike/constants.ts';
import { HEADER_LENGTH } from '../../src/ike/header.ts';
import { encodePayloads, notify, PayloadType } from '../../src/ike/payload/index.ts';
import { concat } from '../../src/wire/bytes.ts';
import type { Random } from './random.ts';

// What somebody on the way can do to a message: everything, except to make a valid ICV.

/** Octets in their places: an IKE header (RFC 7296 3.1). */
const SPI_R = 8;
const NEXT_PAYLOAD = 16;
const VERSION = 17;
const EXCHANGE = 18;
const FLAGS = 19;
const MESSAGE_ID = 20;
const LENGTH = 24;
const INITIATOR = 0x08;
const RESPONSE = 0x20;

const BYTES = [0, 1, 2, 4, 7, 8, 16, 0x7f, 0x80, 0xfe, 0xff];
const WORDS = [0, 1, 3, 4, 7, 8, 255, 256, 1280, 0x7fff, 0x8000, 0xfffe, 0xffff];
const IDS = [0, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
const TYPES = [...Object.values(PayloadType), 1, 13, 49, 50, 54, 128, 200, 255];
const EXCHANGES = [...Object.values(ExchangeType), 0, 33, 38, 99, 240, 255];
const NOTIFIES = Object.values(NotifyType);
const ANSWERS = [
  NotifyType.INVALID_IKE_SPI,
  NotifyType.INVALID_MAJOR_VERSION,
  NotifyType.INVALID_SYNTAX,
  NotifyType.NO_PROPOSAL_CHOSEN,
  NotifyType.INVALID_KE_PAYLOAD,
  NotifyType.AUTHENTICATION_FAILED,
  NotifyType.COOKIE,
];

type Mutation = (random: Random, bytes: Uint8Array, library: readonly Uint8Array[]) => Uint8Array;

function edit(bytes: Uint8Array, change: (copy: Uint8Array, view: DataView) => void): Uint8Array {
  const copy = bytes.slice();
  if (copy.length >= HEADER_LENGTH) change(copy, new DataView(copy.buffer));
  return copy;
}

function withLength(bytes: Uint8Array): Uint8Array {
  return edit(bytes, (copy, view) => view.setUint32(LENGTH, copy.length));
}

/** Where the generic headers of a chain are, as far as it can be followed. */
export function payloadOffsets(bytes: Uint8Array, start: number, first: number): number[] {
  const offsets: number[] = [];
  for (let at = start, type = first; type !== 0 && at + 4 <= bytes.length && offsets.length < 100; ) {
    offsets.push(at);
    if (type === PayloadType.SK || type === PayloadType.SKF) break;
    const length = (bytes[at + 2] << 8) | bytes[at + 3];
    if (length < 4) break;
    type = bytes[at];
    at += length;
  }
  return offsets;
}

function atPayload(random: Random, bytes: Uint8Array, change: (copy: Uint8Array, at: number) => void) {
  return edit(bytes, (copy) => {
    const offsets = payloadOffsets(copy, HEADER_LENGTH, copy[NEXT_PAYLOAD]);
    if (offsets.length > 0) change(copy, random.pick(offsets));
  });
}

/** Changes to octets that need not be a whole message. */
const OCTETS: Readonly<Record<string, Mutation>> = {
  'flip a bit': (random, bytes) => {
    const copy = bytes.slice();
    if (copy.length > 0) copy[random.below(copy.length)] ^= 1 << random.below(8);
    return copy;
  },
  'set an octet': (random, bytes) => {
    const copy = bytes.slice();
    if (copy.length > 0)
      copy[random.below(copy.length)] = random.chance(0.5) ? random.next() : random.pick(BYTES);
    return copy;
  },
  'set a word': (random, bytes) => {
    const copy = bytes.slice();
    if (copy.length < 2) return copy;
    new DataView(copy.buffer).setUint16(random.below(copy.length - 1), random.pick(WORDS));
    return copy;
  },
  'add to an octet': (random, bytes) => {
    const copy = bytes.slice();
    if (copy.length > 0) copy[random.below(copy.length)] += random.chance(0.5) ? 1 : 255;
    return copy;
  },
  'overwrite a run': (random, bytes) => {
    const copy = bytes.slice();
    const at = random.below(copy.length + 1);
    const length = Math.min(copy.length - at, random.length(256));
    copy.set(random.chance(0.5) ? random.bytes(length) : new Uint8Array(length).fill(random.pick(BYTES)), at);
    return copy;
  },
  'insert a run': (random, bytes) => {
    const at = random.below(bytes.length + 1);
    return concat(bytes.subarray(0, at), random.bytes(random.length(512)), bytes.subarray(at));
  },
  'remove a run': (random, bytes) => {
    const at = random.below(bytes.length + 1);
    return concat(bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random.length(256))));
  },
  truncate: (random, bytes) => bytes.slice(0, random.below(bytes.length + 1)),
  extend: (random, bytes) => concat(bytes, random.bytes(random.length(2_000))),
  repeat: (_, bytes) => concat(bytes, bytes),
  splice: (random, bytes, library) => {
    const other = random.pick(library);
    return concat(
      bytes.subarray(0, random.below(bytes.length + 1)),
      other.subarray(random.below(other.length + 1)),
    );
  },
};

/** What somebody on the way could answer a request with, outside of any IKE SA or before there is one (RFC 7296 1.5, 2.6, 2.21.1). */
export function forgedAnswer(random: Random, request: Uint8Array): Uint8Array {
  if (request.length < HEADER_LENGTH) return request;
  const chain = encodePayloads([notify(random.pick(ANSWERS), random.bytes(random.pick([0, 2, 3, 20])))]);
  const message = concat(request.subarray(0, HEADER_LENGTH), chain.bytes);
  message[NEXT_PAYLOAD] = chain.first;
  message[FLAGS] = (request[FLAGS] ^ INITIATOR) | RESPONSE;
  return withLength(message);
}

/** Changes to a message. */
const MESSAGE: Readonly<Record<string, Mutation>> = {
  'header length': (random, bytes) =>
    edit(bytes, (copy, view) =>
      view.setUint32(LENGTH, random.pick([0, 27, 28, copy.length - 1, copy.length + 1, 0xffff, 0xffff_ffff])),
    ),
  'initiator SPI': (random, bytes) =>
    edit(bytes, (copy) => copy.set(random.chance(0.5) ? new Uint8Array(8) : random.bytes(8))),
  'responder SPI': (random, bytes) =>
    edit(bytes, (copy) => copy.set(random.chance(0.5) ? new Uint8Array(8) : random.bytes(8), SPI_R)),
  'swap the SPIs': (_, bytes) =>
    edit(bytes, (copy) => {
      copy.set(bytes.subarray(SPI_R, SPI_R + 8));
      copy.set(bytes.subarray(0, 8), SPI_R);
    }),
  'next payload': (random, bytes) =>
    edit(bytes, (copy) => {
      copy[NEXT_PAYLOAD] = random.pick(TYPES);
    }),
  version: (random, bytes) =>
    edit(bytes, (copy) => {
      copy[VERSION] = random.pick([0x00, 0x10, 0x21, 0x2f, 0x30, 0xff]);
    }),
  'exchange type': (random, bytes) =>
    edit(bytes, (copy) => {
      copy[EXCHANGE] = random.pick(EXCHANGES);
    }),
  flags: (random, bytes) =>
    edit(bytes, (copy) => {
      copy[FLAGS] ^= random.pick([0x08, 0x20, 0x28, 0x10, 0xd7, 0xff]);
    }),
  'message ID': (random, bytes) =>
    edit(bytes, (_, view) => {
      const id = view.getUint32(MESSAGE_ID);
      view.setUint32(MESSAGE_ID, random.chance(0.5) ? random.pick(IDS) : id + random.pick([-1, 1, 2]));
    }),
  'payload length': (random, bytes) =>
    atPayload(random, bytes, (copy, at) => {
      const value = random.pick([...WORDS, copy.length - at, copy.length - at + 1]);
      copy[at + 2] = value >> 8;
      copy[at + 3] = value;
    }),
  'type of a payload': (random, bytes) =>
    atPayload(random, bytes, (copy, at) => {
      copy[at] = random.pick(TYPES);
    }),
  'critical bit': (random, bytes) =>
    atPayload(random, bytes, (copy, at) => {
      copy[at + 1] ^= random.pick([0x80, 0x80, 0x01, 0xff]);
    }),
  'field in a payload': (random, bytes) =>
    atPayload(random, bytes, (copy, at) => {
      const field = at + 4 + random.below(12);
      if (field < copy.length) copy[field] = random.chance(0.5) ? random.pick(BYTES) : random.next();
    }),
  'a payload ahead': (random, bytes) =>
    bytes.length < HEADER_LENGTH
      ? bytes
      : withLength(
          edit(
            concat(
              bytes.subarray(0, HEADER_LENGTH),
              Uint8Array.of(bytes[NEXT_PAYLOAD], random.pick([0, 0x80]), 0, 8),
              random.bytes(4),
              bytes.subarray(HEADER_LENGTH),
            ),
            (copy) => {
              copy[NEXT_PAYLOAD] = random.pick(TYPES);
            },
          ),
        ),
  'payloads of another message': (random, bytes, library) => {
    const other = random.pick(library);
    if (bytes.length < HEADER_LENGTH || other.length < HEADER_LENGTH) return bytes;
    const message = concat(bytes.subarray(0, HEADER_LENGTH), other.subarray(HEADER_LENGTH));
    message[NEXT_PAYLOAD] = other[NEXT_PAYLOAD];
    return withLength(message);
  },
  'unprotected payloads': (random, bytes) => {
    if (bytes.length < HEADER_LENGTH) return bytes;
    const chain = encodePayloads(
      Array.from({ length: random.below(4) }, () =>
        notify(random.pick(NOTIFIES), random.bytes(random.length(80))),
      ),
    );
    const message = concat(bytes.subarray(0, HEADER_LENGTH), chain.bytes);
    message[NEXT_PAYLOAD] = chain.first;
    return withLength(message);
  },
  'a forged answer': (random, bytes) => forgedAnswer(random, bytes),
  'many payloads': (random, bytes) => {
    if (bytes.length < HEADER_LENGTH) return bytes;
    const type = random.pick(TYPES);
    const count = random.pick([99, 100, 101, 1_000]);
    const chain = encodePayloads(
      Array.from({ length: count }, () => ({
        kind: 'UNKNOWN',
        type,
        critical: false,
        data: new Uint8Array(random.below(8)),
      })),
    );
    const message = concat(bytes.subarray(0, HEADER_LENGTH), chain.bytes);
    message[NEXT_PAYLOAD] = chain.first;
    return withLength(message);
  },
  'a fragment of it': (random, bytes) => {
    if (bytes.length < HEADER_LENGTH + 4) return bytes;
    const total = random.pick([0, 1, 2, 5, 16, 255, 65_535]);
    const number = random.pick([0, 1, total, total + 1, 65_535]) & 0xffff;
    const message = concat(
      bytes.subarray(0, HEADER_LENGTH + 4),
      Uint8Array.of(number >> 8, number, total >> 8, total),
      bytes.subarray(HEADER_LENGTH + 4),
    );
    message[NEXT_PAYLOAD] = PayloadType.SKF;
    const length = message.length - HEADER_LENGTH;
    message[HEADER_LENGTH + 2] = length >> 8;
    message[HEADER_LENGTH + 3] = length;
    return withLength(message);
  },
};

const OCTETS_NAMES = Object.keys(OCTETS);
const ALL = { ...OCTETS, ...MESSAGE };
const ALL_NAMES = Object.keys(ALL);

/** Something of octets that are not a message: plaintext, payload bodies. */
export function mutateOctets(random: Random, bytes: Uint8Array, library: readonly Uint8Array[]): Uint8Array {
  return OCTETS[random.pick(OCTETS_NAMES)](random, bytes, library);
}

/**
 * Another message than `base`, or nearly one; its header often has the right length, so that more than the length is
 * looked at. `library` is of messages to take parts from.
 */
export function mutateDatagram(
  random: Random,
  base: Uint8Array,
  library: readonly Uint8Array[],
): { readonly bytes: Uint8Array; readonly mutations: readonly string[] } {
  let bytes = base;
  const mutations: string[] = [];
  do {
    const name = random.pick(ALL_NAMES);
    mutations.push(name);
    bytes = ALL[name](random, bytes, library);
    if (bytes.length > 65_000) bytes = bytes.slice(0, 65_000);
  } while (mutations.length < 4 && random.chance(0.35));
  if (mutations.every((name) => name !== 'header length') && random.chance(0.7)) bytes = withLength(bytes);
  return { bytes, mutations };
}
