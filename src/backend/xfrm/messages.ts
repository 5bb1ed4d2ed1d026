import { familyOf } from '../../wire/address.ts';
import { utf8 } from '../../wire/bytes.ts';
import { IpProtocol } from '../../wire/ip.ts';
import type {
  ExpiredState,
  InstalledState,
  XfrmAlgorithms,
  XfrmDirection,
  XfrmEvent,
  XfrmPolicy,
  XfrmPolicyId,
  XfrmReplay,
  XfrmRequest,
  XfrmScope,
  XfrmState,
  XfrmStateId,
} from './model.ts';
import {
  LITTLE_ENDIAN,
  MessageWriter,
  NetlinkFlag,
  type NetlinkMessage,
  parseAttributes,
  viewOf,
} from './netlink.ts';
import * as layout from './structures.ts';

/** Messages of NETLINK_XFRM (linux/xfrm.h) for ESP in tunnel mode: requests to octets, dumps and events from octets. */

const Message = {
  NEWSA: 0x10,
  DELSA: 0x11,
  GETSA: 0x12,
  NEWPOLICY: 0x13,
  DELPOLICY: 0x14,
  GETPOLICY: 0x15,
  EXPIRE: 0x18,
  UPDPOLICY: 0x19,
  MAPPING: 0x26,
} as const;

/** Bits of a socket's groups for EXPIRE and MAPPING messages (XFRMNLGRP_*). */
export const EVENT_GROUPS = (1 << (2 - 1)) | (1 << (8 - 1));

const Attribute = {
  ALG_AUTH: 1,
  ALG_CRYPT: 2,
  ENCAP: 4,
  TMPL: 5,
  ALG_AEAD: 18,
  ALG_AUTH_TRUNC: 20,
  MARK: 21,
  REPLAY_ESN_VAL: 23,
  SA_EXTRA_FLAGS: 24,
  IF_ID: 31,
  MTIMER_THRESH: 32,
} as const;

/** Neither direction copies ECN (NOECN), and the inner packets are of any family. */
const StateFlag = { NOECN: 1, AF_UNSPEC: 32, ESN: 128 } as const;
const DONT_ENCAP_DSCP = 1;

const UDP_ENCAP_ESPINUDP = 2;
/** Seconds between two events about the same new port of a peer; without it there is one for every packet. */
const MAPPING_INTERVAL = 2;
const DIRECTIONS: readonly XfrmDirection[] = ['in', 'out', 'fwd'];
const ALLOW = 0;
const BLOCK = 1;

const USERSA = 224;
const USERPOLICY = 168;
const ALGORITHM_NAME = 64;
const FULL_MARK = 0xffff_ffff;

/** A request as a message that the kernel acknowledges. */
export function encodeRequest(request: XfrmRequest, sequence: number): Uint8Array {
  const writer = (type: number) => new MessageWriter(type, NetlinkFlag.REQUEST | NetlinkFlag.ACK, sequence);
  switch (request.kind) {
    case 'add-state':
      return writeState(writer(Message.NEWSA), request.state);
    case 'delete-state':
      return writeStateId(writer(Message.DELSA), request.id);
    case 'add-policy':
      return writePolicy(writer(Message.NEWPOLICY), request.policy);
    case 'update-policy':
      return writePolicy(writer(Message.UPDPOLICY), request.policy);
    case 'delete-policy':
      return writePolicyId(writer(Message.DELPOLICY), request.id);
  }
}

/** Asks for one state. */
export function encodeStateQuery(id: XfrmStateId, sequence: number): Uint8Array {
  return writeStateId(new MessageWriter(Message.GETSA, NetlinkFlag.REQUEST | NetlinkFlag.ACK, sequence), id);
}

/** Asks for every state, or every policy. There is no structure: the kernel takes what follows for attributes. */
export function encodeDump(what: 'states' | 'policies', sequence: number): Uint8Array {
  const type = what === 'states' ? Message.GETSA : Message.GETPOLICY;
  return new MessageWriter(type, NetlinkFlag.REQUEST | NetlinkFlag.DUMP, sequence).finish();
}

/** The state in a NEWSA message; undefined if it is not ESP in tunnel mode, or not a whole one. */
export function decodeState({ type, body }: NetlinkMessage): InstalledState | undefined {
  return type === Message.NEWSA && body.length >= USERSA ? readState(body) : undefined;
}

/** The policy in a NEWPOLICY message; undefined if it has not one template for ESP in tunnel mode (a socket's, another daemon's). */
export function decodePolicy({ type, body }: NetlinkMessage): XfrmPolicy | undefined {
  if (type !== Message.NEWPOLICY || body.length < USERPOLICY) return undefined;
  const view = viewOf(body);
  const attributes = parseAttributes(body, USERPOLICY);
  const template = attributes.get(Attribute.TMPL);
  const direction = DIRECTIONS[view.getUint8(160)];
  if (direction === undefined || template?.length !== layout.TEMPLATE) return undefined;
  if (template[20] !== IpProtocol.ESP || template[48] !== layout.MODE_TUNNEL) return undefined;
  return {
    direction,
    selector: layout.readSelector(view, 0),
    ...readScope(attributes),
    action: view.getUint8(161) === ALLOW ? 'allow' : 'block',
    priority: view.getUint32(152, LITTLE_ENDIAN),
    template: layout.readTemplate(template),
  };
}

/** The event that a message of `EVENT_GROUPS` tells of; undefined if it is about something else than ESP in tunnel mode. */
export function decodeEvent({ type, body }: NetlinkMessage): XfrmEvent | undefined {
  if (type === Message.EXPIRE && body.length >= USERSA + 8) {
    const state = readUsed(body, USERSA + 8);
    return state && { kind: 'expired', hard: body[USERSA] !== 0, state };
  }
  if (type !== Message.MAPPING || body.length < 64) return undefined;
  const view = viewOf(body);
  return {
    kind: 'moved',
    id: layout.readStateId(view, 0),
    reqid: view.getUint32(24, LITTLE_ENDIAN),
    address: layout.readAddress(view, 44, view.getUint16(20, LITTLE_ENDIAN)),
    port: view.getUint16(62),
  };
}

function writeState(writer: MessageWriter, state: XfrmState): Uint8Array {
  const { algorithms, replay, encapsulation } = state;
  writer.structure(USERSA, (view) => {
    layout.writeAddress(view, 56, state.destination);
    view.setUint32(72, state.spi);
    view.setUint8(76, IpProtocol.ESP);
    layout.writeAddress(view, 80, state.source);
    layout.writeLimits(view, 96, state.limits, state.lifetime);
    view.setUint32(208, state.reqid, LITTLE_ENDIAN);
    view.setUint16(212, layout.addressFamily(familyOf(state.destination)), LITTLE_ENDIAN);
    view.setUint8(214, layout.MODE_TUNNEL);
    view.setUint8(216, StateFlag.NOECN | StateFlag.AF_UNSPEC | (replay.extended ? StateFlag.ESN : 0));
  });
  writeAlgorithms(writer, algorithms);
  writeReplay(writer, replay);
  if (encapsulation !== undefined) {
    writer.attribute(Attribute.ENCAP, 24, (view) => {
      view.setUint16(0, UDP_ENCAP_ESPINUDP, LITTLE_ENDIAN);
      view.setUint16(2, encapsulation.sourcePort);
      view.setUint16(4, encapsulation.destinationPort);
    });
    writer.attribute(Attribute.MTIMER_THRESH, 4, (view) =>
      view.setUint32(0, MAPPING_INTERVAL, LITTLE_ENDIAN),
    );
  }
  writer.attribute(Attribute.SA_EXTRA_FLAGS, 4, (view) => view.setUint32(0, DONT_ENCAP_DSCP, LITTLE_ENDIAN));
  return writeScope(writer, state).finish();
}

/** A usersa_info at the start of `body`, and the attributes after it: no algorithm, if the kernel but waits for an SA with this SPI. */
function readState(body: Uint8Array): InstalledState | undefined {
  const used = readUsed(body, USERSA);
  if (used === undefined) return undefined;
  const view = viewOf(body);
  const attributes = parseAttributes(body, USERSA);
  if (!attributes.has(Attribute.ALG_AEAD) && !attributes.has(Attribute.ALG_CRYPT)) return undefined;
  const encapsulation = attributes.get(Attribute.ENCAP);
  const ports = encapsulation && viewOf(encapsulation);
  const lifetime = layout.readLifetime(view, 96);
  return {
    ...used,
    source: layout.readAddress(view, 80, view.getUint16(212, LITTLE_ENDIAN)),
    limits: layout.readLimits(view, 96),
    ...(lifetime !== undefined && { lifetime }),
    replay: readReplay(attributes, (view.getUint8(216) & StateFlag.ESN) !== 0),
    ...(ports && { encapsulation: { sourcePort: ports.getUint16(2), destinationPort: ports.getUint16(4) } }),
  };
}

/** What events tell of a state: those come without its algorithms. */
function readUsed(body: Uint8Array, attributesAt: number): ExpiredState | undefined {
  const view = viewOf(body);
  if (view.getUint8(76) !== IpProtocol.ESP || view.getUint8(214) !== layout.MODE_TUNNEL) return undefined;
  return {
    destination: layout.readAddress(view, 56, view.getUint16(212, LITTLE_ENDIAN)),
    spi: view.getUint32(72),
    reqid: view.getUint32(208, LITTLE_ENDIAN),
    ...layout.readUse(view, 160),
    replayed: view.getUint32(192, LITTLE_ENDIAN) + view.getUint32(196, LITTLE_ENDIAN),
    badIcv: view.getUint32(200, LITTLE_ENDIAN),
    ...readScope(parseAttributes(body, attributesAt)),
  };
}

function writeStateId(writer: MessageWriter, id: XfrmStateId): Uint8Array {
  return writeScope(
    writer.structure(layout.STATE_ID, (view) => layout.writeStateId(view, 0, id)),
    id,
  ).finish();
}

function writeAlgorithms(writer: MessageWriter, algorithms: XfrmAlgorithms): void {
  const algorithm = (type: number, name: string, lengths: readonly number[], key: Uint8Array) =>
    writer.attribute(type, ALGORITHM_NAME + 4 * lengths.length + key.length, (view) => {
      layout.writeBytes(view, 0, utf8(name));
      for (const [index, bits] of lengths.entries())
        view.setUint32(ALGORITHM_NAME + 4 * index, bits, LITTLE_ENDIAN);
      layout.writeBytes(view, ALGORITHM_NAME + 4 * lengths.length, key);
    });
  const { key, icvLength } = algorithms;
  if ('aead' in algorithms) {
    algorithm(Attribute.ALG_AEAD, algorithms.aead, [key.length * 8, icvLength], key);
    return;
  }
  const { cipher, authentication, authenticationKey } = algorithms;
  algorithm(Attribute.ALG_CRYPT, cipher, [key.length * 8], key);
  const lengths = [authenticationKey.length * 8, icvLength];
  algorithm(Attribute.ALG_AUTH_TRUNC, authentication, lengths, authenticationKey);
}

/** A struct xfrm_replay_state_esn, which also stands for short sequence numbers: their other structure has a window of 32. */
function writeReplay(writer: MessageWriter, { sent, received, window, bitmap = [] }: XfrmReplay): void {
  const numbers = [window / 32, low(sent), low(received), high(sent), high(received), window, ...bitmap];
  writer.attribute(Attribute.REPLAY_ESN_VAL, 4 * numbers.length, (view) => {
    for (const [index, number] of numbers.entries()) view.setUint32(4 * index, number, LITTLE_ENDIAN);
  });
}

function readReplay(attributes: ReadonlyMap<number, Uint8Array>, extended: boolean): XfrmReplay {
  const attribute = attributes.get(Attribute.REPLAY_ESN_VAL);
  if (attribute === undefined || attribute.length < 24) return { extended, sent: 0, received: 0, window: 0 };
  const view = viewOf(attribute);
  const number = (index: number) => view.getUint32(4 * index, LITTLE_ENDIAN);
  return {
    extended,
    sent: number(3) * 2 ** 32 + number(1),
    received: number(4) * 2 ** 32 + number(2),
    window: number(5),
    bitmap: Array.from({ length: attribute.length / 4 - 6 }, (_, index) => number(6 + index)),
  };
}

function low(number: number): number {
  return number % 2 ** 32;
}

function high(number: number): number {
  return Math.floor(number / 2 ** 32);
}

function writePolicy(writer: MessageWriter, policy: XfrmPolicy): Uint8Array {
  writer.structure(USERPOLICY, (view) => {
    layout.writeSelector(view, 0, policy.selector);
    layout.writeLimits(view, 56, {});
    view.setUint32(152, policy.priority, LITTLE_ENDIAN);
    view.setUint8(160, DIRECTIONS.indexOf(policy.direction));
    view.setUint8(161, policy.action === 'allow' ? ALLOW : BLOCK);
  });
  writer.attribute(Attribute.TMPL, layout.TEMPLATE, (view) => layout.writeTemplate(view, 0, policy.template));
  return writeScope(writer, policy).finish();
}

function writePolicyId(writer: MessageWriter, id: XfrmPolicyId): Uint8Array {
  writer.structure(64, (view) => {
    layout.writeSelector(view, 0, id.selector);
    view.setUint8(60, DIRECTIONS.indexOf(id.direction));
  });
  return writeScope(writer, id).finish();
}

function writeScope(writer: MessageWriter, { mark, interfaceId }: XfrmScope): MessageWriter {
  if (mark !== undefined) {
    writer.attribute(Attribute.MARK, 8, (view) => {
      view.setUint32(0, mark, LITTLE_ENDIAN);
      view.setUint32(4, FULL_MARK, LITTLE_ENDIAN);
    });
  }
  if (interfaceId !== undefined)
    writer.attribute(Attribute.IF_ID, 4, (view) => view.setUint32(0, interfaceId, LITTLE_ENDIAN));
  return writer;
}

function readScope(attributes: ReadonlyMap<number, Uint8Array>): XfrmScope {
  const [mark, interfaceId] = [attributes.get(Attribute.MARK), attributes.get(Attribute.IF_ID)];
  return {
    ...(mark !== undefined && { mark: viewOf(mark).getUint32(0, LITTLE_ENDIAN) }),
    ...(interfaceId !== undefined && { interfaceId: viewOf(interfaceId).getUint32(0, LITTLE_ENDIAN) }),
  };
}
