import type { SaLimits } from '../../link/sa-store.ts';
import {
  type Address,
  addressBytes,
  addressText,
  type Family,
  familyOf,
  type Prefix,
} from '../../wire/address.ts';
import { IpProtocol } from '../../wire/ip.ts';
import type { PortMask, XfrmSelector, XfrmStateId, XfrmTemplate } from './model.ts';
import { LITTLE_ENDIAN, viewOf } from './netlink.ts';

/** Structures of linux/xfrm.h. Numbers are in host byte order, but for SPIs and ports. Views start where the structure does. */

export const TEMPLATE = 64;
export const STATE_ID = 24;

const AF_INET = 2;
const AF_INET6 = 10;
export const MODE_TUNNEL = 1;
/** Where a lifetime has its hard limit in seconds from when it was added. */
const LIFETIME = 40;
/** XFRM_INF. */
const UNLIMITED = 0xffff_ffff_ffff_ffffn;

export function addressFamily(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

function familyOfNumber(number: number): Family {
  return number === AF_INET6 ? 6 : 4;
}

/** An xfrm_address_t. */
export function writeAddress(view: DataView, at: number, address: Address): void {
  writeBytes(view, at, addressBytes(address));
}

export function readAddress(view: DataView, at: number, family: number): Address {
  return addressText(readBytes(view, at, family === AF_INET6 ? 16 : 4));
}

export function writeBytes(view: DataView, at: number, bytes: Uint8Array): void {
  new Uint8Array(view.buffer, view.byteOffset + at, bytes.length).set(bytes);
}

export function readBytes(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length).slice();
}

/** A struct xfrm_selector. */
export function writeSelector(view: DataView, at: number, selector: XfrmSelector): void {
  const { source, destination, sourcePorts, destinationPorts, protocol } = selector;
  writeBytes(view, at, destination.bytes);
  writeBytes(view, at + 16, source.bytes);
  writePorts(view, at + 32, destinationPorts);
  writePorts(view, at + 36, sourcePorts);
  view.setUint16(at + 40, addressFamily(destination.family), LITTLE_ENDIAN);
  view.setUint8(at + 42, destination.length);
  view.setUint8(at + 43, source.length);
  view.setUint8(at + 44, protocol);
}

export function readSelector(view: DataView, at: number): XfrmSelector {
  const family = familyOfNumber(view.getUint16(at + 40, LITTLE_ENDIAN));
  const prefix = (offset: number, lengthAt: number): Prefix => ({
    family,
    bytes: readBytes(view, at + offset, family === 4 ? 4 : 16),
    length: view.getUint8(at + lengthAt),
  });
  return {
    destination: prefix(0, 42),
    source: prefix(16, 43),
    destinationPorts: readPorts(view, at + 32),
    sourcePorts: readPorts(view, at + 36),
    protocol: view.getUint8(at + 44),
  };
}

function writePorts(view: DataView, at: number, { port, mask }: PortMask): void {
  view.setUint16(at, port);
  view.setUint16(at + 2, mask);
}

function readPorts(view: DataView, at: number): PortMask {
  return { port: view.getUint16(at), mask: view.getUint16(at + 2) };
}

/** A struct xfrm_lifetime_cfg. @param lifetime - seconds; absent: for ever */
export function writeLimits(view: DataView, at: number, limits: SaLimits, lifetime = 0): void {
  const { softOctets, hardOctets, softPackets, hardPackets } = limits;
  for (const [index, limit] of [softOctets, hardOctets, softPackets, hardPackets].entries())
    view.setBigUint64(at + 8 * index, limit === undefined ? UNLIMITED : BigInt(limit), LITTLE_ENDIAN);
  view.setBigUint64(at + LIFETIME, BigInt(lifetime), LITTLE_ENDIAN);
}

export function readLimits(view: DataView, at: number): SaLimits {
  const names = ['softOctets', 'hardOctets', 'softPackets', 'hardPackets'] as const;
  const limits: { -readonly [name in keyof SaLimits]: SaLimits[name] } = {};
  for (const [index, name] of names.entries()) {
    const limit = view.getBigUint64(at + 8 * index, LITTLE_ENDIAN);
    if (limit !== UNLIMITED) limits[name] = Number(limit);
  }
  return limits;
}

/** Seconds, of the same structure; undefined: for ever. */
export function readLifetime(view: DataView, at: number): number | undefined {
  return Number(view.getBigUint64(at + LIFETIME, LITTLE_ENDIAN)) || undefined;
}

/** A struct xfrm_lifetime_cur. */
export function readUse(view: DataView, at: number): { readonly octets: number; readonly packets: number } {
  return {
    octets: Number(view.getBigUint64(at, LITTLE_ENDIAN)),
    packets: Number(view.getBigUint64(at + 8, LITTLE_ENDIAN)),
  };
}

/** A struct xfrm_usersa_id of an ESP SA. */
export function writeStateId(view: DataView, at: number, { destination, spi }: XfrmStateId): void {
  writeAddress(view, at, destination);
  view.setUint32(at + 16, spi);
  view.setUint16(at + 20, addressFamily(familyOf(destination)), LITTLE_ENDIAN);
  view.setUint8(at + 22, IpProtocol.ESP);
}

export function readStateId(
  view: DataView,
  at: number,
): { readonly destination: Address; readonly spi: number } {
  const family = view.getUint16(at + 20, LITTLE_ENDIAN);
  return { destination: readAddress(view, at, family), spi: view.getUint32(at + 16) };
}

/** A struct xfrm_user_tmpl for ESP in tunnel mode, with any algorithm. */
export function writeTemplate(
  view: DataView,
  at: number,
  { path, spi, reqid, optional }: XfrmTemplate,
): void {
  if (path !== undefined) {
    writeAddress(view, at, path.destination);
    writeAddress(view, at + 28, path.source);
  }
  view.setUint32(at + 16, spi);
  view.setUint8(at + 20, IpProtocol.ESP);
  view.setUint16(at + 24, addressFamily(path === undefined ? 4 : familyOf(path.source)), LITTLE_ENDIAN);
  view.setUint32(at + 44, reqid, LITTLE_ENDIAN);
  view.setUint8(at + 48, MODE_TUNNEL);
  view.setUint8(at + 50, optional ? 1 : 0);
  for (const algorithms of [52, 56, 60]) view.setUint32(at + algorithms, 0xffff_ffff, LITTLE_ENDIAN);
}

export function readTemplate(bytes: Uint8Array): XfrmTemplate {
  const view = viewOf(bytes);
  const family = view.getUint16(24, LITTLE_ENDIAN);
  const [destination, source] = [readAddress(view, 0, family), readAddress(view, 28, family)];
  const isAny = bytes.subarray(0, 16).every((octet) => octet === 0);
  return {
    reqid: view.getUint32(44, LITTLE_ENDIAN),
    spi: view.getUint32(16),
    ...(!isAny && { path: { source, destination } }),
    ...(view.getUint8(50) !== 0 && { optional: true }),
  };
}
