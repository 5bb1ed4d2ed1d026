import { type Reader, WireError } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import type { ProposalPayload, SaPayload, Transform } from './payload.ts';

// RFC 7296 3.3: SA payload = one or more Proposals, each with its Transforms and their Attributes.

/** RFC 7296 3.3.5: the only attribute type defined; always in TV format. */
const KEY_LENGTH = 14;
const ATTRIBUTE_FORMAT_TV = 0x8000;
const MORE_PROPOSALS = 2;
const MORE_TRANSFORMS = 3;

export function encodeSa(payload: SaPayload, out: Writer): void {
  payload.proposals.forEach((proposal, index) => {
    const start = out.length;
    out
      .u8(index === payload.proposals.length - 1 ? 0 : MORE_PROPOSALS)
      .u8(0)
      .u16(0);
    out.u8(proposal.number).u8(proposal.protocol).u8(proposal.spi.length).u8(proposal.transforms.length);
    out.bytes(proposal.spi);
    proposal.transforms.forEach((transform, i) => {
      encodeTransform(transform, i === proposal.transforms.length - 1, out);
    });
    out.patchU16(start + 2, out.length - start);
  });
}

function encodeTransform(transform: Transform, last: boolean, out: Writer): void {
  const { type, id, keyLength } = transform;
  out
    .u8(last ? 0 : MORE_TRANSFORMS)
    .u8(0)
    .u16(keyLength === undefined ? 8 : 12);
  out.u8(type).u8(0).u16(id);
  if (keyLength !== undefined) out.u16(ATTRIBUTE_FORMAT_TV | KEY_LENGTH).u16(keyLength);
}

export function decodeSa(body: Reader): SaPayload {
  const proposals: ProposalPayload[] = [];
  for (let more = true; more; ) {
    more = decodeMore(body, MORE_PROPOSALS, 'proposal');
    const proposal = decodeProposal(body.sub(decodeLength(body), 'proposal'));
    // RFC 7296 3.3.1: numbers go up; the one proposal of an answer keeps the number that it had in the offer.
    if (proposal.number <= (proposals.at(-1)?.number ?? 0)) {
      throw new WireError(`proposal number ${proposal.number} is out of order`);
    }
    proposals.push(proposal);
  }
  return { kind: 'SA', proposals };
}

function decodeProposal(body: Reader): ProposalPayload {
  const number = body.u8();
  const protocol = body.u8();
  const spiSize = body.u8();
  const count = body.u8();
  const spi = body.bytes(spiSize);
  const transforms: Transform[] = [];
  for (let more = count > 0; more; ) {
    more = decodeMore(body, MORE_TRANSFORMS, 'transform');
    transforms.push(decodeTransform(body.sub(decodeLength(body), 'transform')));
  }
  body.expectEnd();
  if (transforms.length !== count) {
    throw new WireError(`proposal ${number}: ${transforms.length} transforms, but the count says ${count}`);
  }
  return { number, protocol, spi, transforms };
}

function decodeTransform(body: Reader): Transform {
  const type = body.u8();
  body.u8();
  const id = body.u16();
  let keyLength: number | undefined;
  let unsupported = false;
  while (body.remaining > 0) {
    const attribute = body.u16();
    const value = body.u16();
    if (attribute === (ATTRIBUTE_FORMAT_TV | KEY_LENGTH) && keyLength === undefined) {
      keyLength = value;
    } else {
      unsupported = true;
      if (!(attribute & ATTRIBUTE_FORMAT_TV)) body.bytes(value);
    }
  }
  return { type, id, ...(keyLength !== undefined && { keyLength }), ...(unsupported && { unsupported }) };
}

/** Last Substruc and RESERVED. */
function decodeMore(body: Reader, moreValue: number, what: string): boolean {
  const value = body.u8();
  body.u8();
  if (value !== 0 && value !== moreValue) throw new WireError(`${what}: Last Substruc is ${value}`);
  return value !== 0;
}

/** Proposal Length or Transform Length; both count the four octets that end with the length itself. */
function decodeLength(body: Reader): number {
  const length = body.u16();
  if (length < 8) throw new WireError(`a substructure of the SA payload has length ${length}`);
  return length - 4;
}
