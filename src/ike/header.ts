import type { Reader } from '../wire/reader.ts';
import type { Writer } from '../wire/writer.ts';

// RFC 7296 3.1: HDR = IKE SA Initiator's SPI, IKE SA Responder's SPI, Next Payload, MjVer, MnVer, Exchange Type, Flags,
// Message ID, Length.

/** Octets of an IKE header. */
export const HEADER_LENGTH = 28;

const FLAG_INITIATOR = 0x08;
const FLAG_RESPONSE = 0x20;
/** The version that this is. */
export const MAJOR_VERSION = 2;

/** What a sender decides of an IKE header. SPIs are 8 octets. */
export interface HeaderFields {
  /** The SPI of the IKE SA's original initiator. */
  readonly spiI: Uint8Array;
  /** The SPI of the IKE SA's original responder; zeros in its first request. */
  readonly spiR: Uint8Array;
  /** Of `ExchangeType`. */
  readonly exchangeType: number;
  /** `initiator`: the sender is the original initiator of the IKE SA. The V bit is sent clear and ignored. */
  readonly flags: { readonly initiator: boolean; readonly response: boolean };
  /** Message ID: 0 for the first request of either end. */
  readonly messageId: number;
}

/** A received IKE header. */
export interface IkeHeader extends HeaderFields {
  /** The type of the first payload. */
  readonly nextPayload: number;
  /** Of IKE: 2. */
  readonly majorVersion: number;
  /** Of IKE: ignored. */
  readonly minorVersion: number;
  /** Octets of the whole message. */
  readonly length: number;
}

/** Writes a header of IKE 2.0 for a message of `length` octets. */
export function encodeHeader(fields: HeaderFields, nextPayload: number, length: number, out: Writer): void {
  const { initiator, response } = fields.flags;
  out.bytes(fields.spiI).bytes(fields.spiR);
  out
    .u8(nextPayload)
    .u8(MAJOR_VERSION << 4)
    .u8(fields.exchangeType);
  out.u8((initiator ? FLAG_INITIATOR : 0) | (response ? FLAG_RESPONSE : 0));
  out.u32(fields.messageId).u32(length);
}

/** The SPIs are copies. @throws WireError if there are fewer than 28 octets */
export function decodeHeader(reader: Reader): IkeHeader {
  const spiI = reader.bytes(8).slice();
  const spiR = reader.bytes(8).slice();
  const nextPayload = reader.u8();
  const version = reader.u8();
  const exchangeType = reader.u8();
  const flags = reader.u8();
  const messageId = reader.u32();
  const length = reader.u32();
  return {
    spiI,
    spiR,
    nextPayload,
    majorVersion: version >> 4,
    minorVersion: version & 15,
    exchangeType,
    flags: { initiator: (flags & FLAG_INITIATOR) !== 0, response: (flags & FLAG_RESPONSE) !== 0 },
    messageId,
    length,
  };
}
