import { ConfigAttributeType, ConfigType } from '../../src/cp/attributes.ts';
import { AuthMethod, CertEncoding, IdType, NotifyType } from '../../src/ike/constants.ts';
import {
  encodePayloads,
  idPayload,
  notify,
  type Payload,
  PayloadType,
  type ProposalPayload,
  type Transform,
} from '../../src/ike/payload/index.ts';
import { anySelector, type TrafficSelector } from '../../src/wire/traffic-selector.ts';
import { mutateOctets, payloadOffsets } from './datagram-mutations.ts';
import type { Random } from './random.ts';
import type { Plaintext } from './sealing.ts';

// What an authenticated peer can say that it should not.

const PROTOCOLS = [0, 1, 2, 3, 4, 255];
const METHODS = [...Object.values(AuthMethod), 0, 10, 11, 255];
const NOTIFIES = Object.values(NotifyType);
const ATTRIBUTES = [...Object.values(ConfigAttributeType), 4, 7, 13, 15, 21, 25, 0x7fff];
const KE_METHODS = [0, 1, 2, 14, 19, 22, 31, 35, 36, 37, 1025, 65_535];

/** What the peer's messages are mutated with. */
export interface Material {
  /** SPIs of ESP SAs that there are, or were. */
  readonly spis: readonly Uint8Array[];
  /** Payloads of honest messages of every exchange. */
  readonly payloads: readonly Payload[];
}

/** Octets of one of the lengths that a field of `length` is got wrong with. */
function octets(random: Random, length: number): Uint8Array {
  const lengths = [0, 1, Math.max(0, length - 1), length, length + 1, 15, 16, 17, 32, 256, 257];
  const size = random.chance(0.02) ? 20_000 : random.pick(lengths);
  return random.chance(0.3) ? new Uint8Array(size).fill(random.pick([0, 1, 255])) : random.bytes(size);
}

/** RFC 7296 2.8: the SPI of something that exists is what a peer means something by. */
function spi(random: Random, { spis }: Material): Uint8Array {
  if (spis.length > 0 && random.chance(0.8)) return random.pick(spis);
  return random.chance(0.7) ? random.bytes(4) : random.bytes(random.pick([0, 3, 8]));
}

function transform(random: Random): Transform {
  const keyLength = random.pick([undefined, undefined, 0, 128, 192, 256, 65_535]);
  return {
    type: random.pick([0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 255]),
    id: random.pick([0, 1, 5, 12, 14, 19, 20, 28, 31, 36, 1025, 65_535]),
    ...(keyLength !== undefined && { keyLength }),
  };
}

function changedProposal(random: Random, proposal: ProposalPayload, material: Material): ProposalPayload {
  const transforms = [...proposal.transforms];
  switch (random.below(7)) {
    case 0:
      return { ...proposal, number: random.pick([0, 1, 2, 3, 255]) };
    case 1:
      return { ...proposal, protocol: random.pick(PROTOCOLS) };
    case 2:
      return { ...proposal, spi: spi(random, material) };
    case 3:
      transforms.splice(random.below(transforms.length + 1), 1);
      return { ...proposal, transforms };
    case 4:
      transforms.splice(random.below(transforms.length + 1), 1, transform(random));
      return { ...proposal, transforms };
    case 5:
      return {
        ...proposal,
        transforms: Array.from({ length: random.pick([0, 100, 255]) }, () => transform(random)),
      };
    default:
      return { ...proposal, transforms: [...transforms, transform(random)] };
  }
}

function selector(random: Random, base: TrafficSelector): TrafficSelector {
  switch (random.below(5)) {
    case 0:
      return anySelector(random.pick([4, 6]));
    case 1:
      return { ...base, protocol: random.below(256) };
    case 2:
      return { ...base, startPort: random.below(65_536), endPort: random.below(65_536) };
    case 3:
      return { ...base, startAddress: base.endAddress, endAddress: base.startAddress };
    default: {
      const address = random.bytes(base.startAddress.length);
      return { ...base, startAddress: address, endAddress: address };
    }
  }
}

function changedPayload(random: Random, payload: Payload, material: Material): Payload {
  switch (payload.kind) {
    case 'SA': {
      const proposals = [...payload.proposals];
      const at = random.below(proposals.length);
      if (proposals[at] === undefined) return payload;
      const what = random.below(10);
      if (what === 0) proposals.splice(at, 1);
      else if (what === 1) proposals.push({ ...proposals[at], number: proposals.length + 1 });
      else proposals[at] = changedProposal(random, proposals[at], material);
      return { ...payload, proposals };
    }
    case 'KE':
      return random.chance(0.4)
        ? { ...payload, method: random.pick(KE_METHODS) }
        : { ...payload, data: octets(random, payload.data.length) };
    case 'NONCE':
    case 'PS':
      return { ...payload, data: octets(random, payload.data.length) };
    case 'IDi':
    case 'IDr': {
      const identity = { type: random.pick([...Object.values(IdType), 0, 255]), data: octets(random, 16) };
      return idPayload(payload.kind, identity);
    }
    case 'AUTH':
      return random.chance(0.5)
        ? { ...payload, method: random.pick(METHODS) }
        : { ...payload, data: octets(random, payload.data.length) };
    case 'CERT':
    case 'CERTREQ':
      return random.chance(0.5)
        ? { ...payload, encoding: random.pick([...Object.values(CertEncoding), 0, 1, 12, 255]) }
        : { ...payload, data: octets(random, payload.data.length) };
    case 'NOTIFY':
      switch (random.below(4)) {
        case 0:
          return { ...payload, type: random.pick([...NOTIFIES, 0, 8191, 16_383, 40_960, 65_535]) };
        case 1:
          return { ...payload, protocol: random.pick(PROTOCOLS) };
        case 2:
          return { ...payload, spi: spi(random, material) };
        default:
          return { ...payload, data: octets(random, payload.data.length) };
      }
    case 'DELETE':
      return {
        ...payload,
        protocol: random.pick([1, 2, 3]),
        spis: Array.from({ length: random.pick([0, 1, 1, 2, 3, 1_000]) }, () => spi(random, material)),
      };
    case 'TSi':
    case 'TSr': {
      const selectors = [...payload.selectors];
      const base = selectors[random.below(selectors.length)] ?? anySelector(4);
      if (random.chance(0.2)) return { ...payload, selectors: Array<TrafficSelector>(255).fill(base) };
      return { ...payload, selectors: [...selectors.slice(1), selector(random, base)] };
    }
    case 'CP': {
      const type = random.pick([...Object.values(ConfigType), 0, 255]);
      if (random.chance(0.3)) return { ...payload, type };
      const attributes = Array.from({ length: random.pick([0, 1, 2, 3, 500]) }, () => ({
        type: random.pick(ATTRIBUTES),
        value: random.bytes(random.pick([0, 3, 4, 5, 8, 16, 17, 18])),
      }));
      return { ...payload, attributes };
    }
    case 'VENDOR_ID':
    case 'UNKNOWN':
      return { ...payload, data: octets(random, payload.data.length) };
  }
}

/** The same payload type with a body that need not parse. */
function changedBody(random: Random, payload: Payload, library: readonly Uint8Array[]): Payload {
  if (payload.kind === 'UNKNOWN') return payload;
  const body = encodeOrNothing([payload]).bytes.subarray(4);
  return {
    kind: 'UNKNOWN',
    type: PayloadType[payload.kind],
    critical: random.chance(0.2),
    data: mutateOctets(random, body, library),
  };
}

function newPayload(random: Random, material: Material): Payload {
  switch (random.below(7)) {
    case 0:
      return notify(random.pick(NOTIFIES), octets(random, 4), random.pick(PROTOCOLS), spi(random, material));
    case 1:
      return {
        kind: 'UNKNOWN',
        type: random.pick([1, 49, 50, 54, 128, 255]),
        critical: random.chance(0.3),
        data: octets(random, 8),
      };
    case 2:
      return { kind: 'UNKNOWN', type: random.pick([46, 48, 53]), critical: false, data: octets(random, 40) };
    case 3:
      return { kind: 'VENDOR_ID', data: octets(random, 16) };
    case 4:
      return { kind: 'DELETE', protocol: random.pick([1, 2, 3]), spis: [spi(random, material)] };
    case 5:
      return { kind: 'CERT', encoding: random.pick([1, 4, 11, 12, 15]), data: octets(random, 100) };
    default:
      return random.pick(material.payloads);
  }
}

function changedList(random: Random, payloads: readonly Payload[], material: Material): Payload[] {
  const list = [...payloads];
  const at = random.below(list.length);
  switch (random.below(8)) {
    case 0:
      list.splice(at, 1);
      break;
    case 1:
      if (list.length > 0) list.splice(at, 0, list[at]);
      break;
    case 2:
      if (list.length > 0) list.push(...list.splice(at, 1));
      break;
    case 3:
      list.splice(random.below(list.length + 1), 0, newPayload(random, material));
      break;
    case 4:
      list.push(...Array<Payload>(random.pick([20, 41, 101])).fill(newPayload(random, material)));
      break;
    case 5:
      if (list.length > 0) list[at] = changedBody(random, list[at], [new Uint8Array(64)]);
      break;
    default:
      if (list.length > 0) list[at] = changedPayload(random, list[at], material);
  }
  return list;
}

function encodeOrNothing(payloads: readonly Payload[]): {
  readonly first: number;
  readonly bytes: Uint8Array;
} {
  try {
    return encodePayloads(payloads);
  } catch {
    // Longer than its length field can say: nobody can send that.
    return { first: 0, bytes: new Uint8Array(0) };
  }
}

/** The plaintext of a message that says something else than `payloads`, or says it wrongly; sometimes the same. */
export function mutatePayloads(random: Random, payloads: readonly Payload[], material: Material): Plaintext {
  let list: readonly Payload[] = payloads.map((payload) => atHome(random, payload, material));
  for (let changes = random.below(3); changes > 0; changes--) list = changedList(random, list, material);
  let { first, bytes } = encodeOrNothing(list);
  if (random.chance(0.15)) bytes = mutateOctets(random, bytes, [bytes]);
  if (random.chance(0.1)) {
    const offsets = payloadOffsets(bytes, 0, first);
    if (offsets.length > 0) {
      bytes = bytes.slice();
      bytes[random.pick(offsets) + random.below(4)] = random.next();
    }
  }
  if (random.chance(0.03)) first = random.pick([0, 1, 33, 46, 53, 255]);
  if (bytes.length > 60_000) bytes = bytes.subarray(0, 60_000);
  return {
    first,
    bytes,
    ...(random.chance(0.03) && { padLength: random.pick([1, 15, 16, 128, 255]) }),
    ...(random.chance(0.03) && {
      fragment: { number: random.pick([0, 1, 2, 3, 65_535]), total: random.pick([0, 1, 2, 3, 65_535]) },
    }),
  };
}

/** SPIs in honest payloads of another IKE SA are made those of this one. */
function atHome(random: Random, payload: Payload, material: Material): Payload {
  if (material.spis.length === 0) return payload;
  if (payload.kind === 'DELETE')
    return { ...payload, spis: payload.spis.map(() => random.pick(material.spis)) };
  if (payload.kind === 'NOTIFY' && payload.spi.length === 4) {
    return { ...payload, spi: random.pick(material.spis) };
  }
  return payload;
}
