/**
 * ESP in tunnel mode (RFC 4303) on packets in memory, for whoever moves them.
 * @module ike-telescope/esp
 */

import type { CryptoProvider, Protector } from '../crypto/provider.ts';
import { encryptionOf, protectionLayout } from '../crypto/transforms.ts';
import type { Packet } from '../link/packet.ts';
import type { SaParameters } from '../link/sa-store.ts';
import { ESP_HEADER, ESP_TRAILER, espAlignment } from './overhead.ts';
import { ReplayWindow } from './replay-window.ts';

/** What the transforms of an SA need: the addresses are the data plane's. */
export type EspParameters = Pick<SaParameters, 'spi' | 'suite' | 'keys'>;

/** Next Header values of tunnel mode: an inner IPv4 or IPv6 packet, and a dummy packet (RFC 4303 2.6). */
export const NextHeader = { IPV4: 4, IPV6: 41, NONE: 59 } as const;

/**
 * Why a packet was dropped: it has not the shape of ESP; its sequence number was seen or is too old; its ICV is wrong; its
 * padding is not 1, 2, 3, ...; it is not an IP packet; or it is a dummy, which is no error.
 */
export type OpenFailure = 'malformed' | 'replayed' | 'bad-icv' | 'bad-padding' | 'not-ip' | 'dummy';

/** What a received packet came to: `nextHeader` is of `NextHeader`, IPV4 or IPV6. */
export type OpenResult =
  | { readonly ok: true; readonly nextHeader: number }
  | { readonly ok: false; readonly reason: OpenFailure };

/** The sequence numbers that may be sent; a number is not used twice under a key (RFC 4303 3.3.3). */
const LAST_SHORT = 0xffff_ffff;
const LAST_EXTENDED = Number.MAX_SAFE_INTEGER;

/** The sending half of a Child SA: tunnel mode ESP (RFC 4303), in place. */
export class OutboundSa {
  readonly #provider: CryptoProvider;
  readonly #transform: Transform;
  readonly #last: number;
  #sequence: number;

  /**
   * @param sequence - the last sequence number that was sent under these keys
   * @throws UnsupportedAlgorithm; RangeError for keys that are not of the suite's lengths
   */
  constructor(provider: CryptoProvider, parameters: EspParameters, sequence = 0) {
    this.#provider = provider;
    this.#transform = new Transform(provider, parameters);
    this.#last = parameters.suite.esn ? LAST_EXTENDED : LAST_SHORT;
    this.#sequence = sequence;
  }

  /** The last sequence number sent; 0 before the first. */
  get sequence(): number {
    return this.#sequence;
  }

  /**
   * Turns an inner packet into an ESP packet, from the SPI to the ICV. False, with nothing changed, once the sequence
   * numbers are exhausted (RFC 4303 2.2): the SA has to be rekeyed.
   * @param nextHeader - of `NextHeader`
   * @throws RangeError if the slot has not the room
   */
  seal(packet: Packet, nextHeader: number): boolean {
    if (this.#sequence >= this.#last) return false;
    const { buffer } = packet;
    const { ivLength, icvLength, alignment, aead } = this.#transform;
    const textStart = packet.start;
    const padding = -(packet.end - textStart + ESP_TRAILER) & (alignment - 1);
    const textEnd = packet.end + padding + ESP_TRAILER;
    const ivStart = textStart - ivLength;
    const start = ivStart - ESP_HEADER;
    const end = textEnd + icvLength;
    if (start < 0 || end > buffer.length) {
      throw new RangeError(
        `no room for ESP around octets ${packet.start} to ${packet.end} of ${buffer.length}`,
      );
    }
    const sequence = ++this.#sequence;
    for (let i = 1; i <= padding; i++) buffer[packet.end + i - 1] = i;
    buffer[textEnd - 2] = padding;
    buffer[textEnd - 1] = nextHeader;
    if (aead && ivLength > 0) {
      // RFC 4106 3.1, RFC 7634 2: a counter; the sequence number is one that never repeats.
      writeU32(buffer, ivStart, Math.floor(sequence / 2 ** 32));
      writeU32(buffer, ivStart + 4, sequence);
    } else if (ivLength > 0) {
      // RFC 3602 3: unpredictable.
      buffer.set(this.#provider.random(ivLength), ivStart);
    }
    writeU32(buffer, start, this.#transform.spi);
    writeU32(buffer, start + 4, sequence);
    this.#transform.seal(buffer, sequence, ivStart, textStart, textEnd, end);
    packet.start = start;
    packet.end = end;
    return true;
  }

  /** Overwrites the keys; the SA is unusable afterwards. */
  destroy(): void {
    this.#transform.destroy();
  }
}

/** The receiving half of a Child SA: tunnel mode ESP (RFC 4303), in place. */
export class InboundSa {
  readonly #transform: Transform;
  readonly #window: ReplayWindow;
  #isNewest = false;

  /**
   * @param sequence - the highest sequence number that was received under these keys
   * @throws UnsupportedAlgorithm; RangeError for keys that are not of the suite's lengths
   */
  constructor(provider: CryptoProvider, parameters: EspParameters, sequence = 0) {
    this.#transform = new Transform(provider, parameters);
    this.#window = new ReplayWindow(parameters.suite.esn, sequence);
  }

  /**
   * Turns an ESP packet, from the SPI to the ICV, into its inner packet, which may be followed by traffic flow
   * confidentiality padding (RFC 4303 2.7). The caller has looked the SA up by the SPI. Never throws, whatever the octets;
   * those of a dropped packet are unspecified. Its `start` and `end` stay.
   */
  open(packet: Packet): OpenResult {
    const { buffer, start, end } = packet;
    const { ivLength, icvLength, alignment } = this.#transform;
    const ivStart = start + ESP_HEADER;
    const textStart = ivStart + ivLength;
    const textEnd = end - icvLength;
    const length = textEnd - textStart;
    if (length < alignment || (length & (alignment - 1)) !== 0) return FAILED.malformed;
    // The ICV covers the SPI: one that is not ours cannot verify.
    if (readU32(buffer, start) !== this.#transform.spi) return FAILED['bad-icv'];
    const sequence = this.#window.check(readU32(buffer, start + 4));
    if (sequence === undefined) return FAILED.replayed;
    if (!this.#transform.open(buffer, sequence, ivStart, textStart, textEnd, end)) return FAILED['bad-icv'];
    this.#isNewest = this.#window.advance(sequence);
    const innerEnd = textEnd - ESP_TRAILER - buffer[textEnd - 2];
    if (innerEnd < textStart) return FAILED['bad-padding'];
    for (let i = innerEnd; i < textEnd - ESP_TRAILER; i++) {
      if (buffer[i] !== i - innerEnd + 1) return FAILED['bad-padding'];
    }
    const nextHeader = buffer[textEnd - 1];
    if (nextHeader === NextHeader.NONE) return FAILED.dummy;
    const version = innerEnd > textStart ? buffer[textStart] >> 4 : 0;
    if (nextHeader === NextHeader.IPV4 && version === 4)
      return move(packet, textStart, innerEnd, OPENED_IPV4);
    if (nextHeader === NextHeader.IPV6 && version === 6)
      return move(packet, textStart, innerEnd, OPENED_IPV6);
    return FAILED['not-ip'];
  }

  /** Whether the packet that was opened last is newer, by its sequence number, than all before it. */
  get isNewest(): boolean {
    return this.#isNewest;
  }

  /** Overwrites the keys; the SA is unusable afterwards. */
  destroy(): void {
    this.#transform.destroy();
  }
}

/** Results are shared: opening a packet allocates none. */
const OPENED_IPV4: OpenResult = { ok: true, nextHeader: NextHeader.IPV4 };
const OPENED_IPV6: OpenResult = { ok: true, nextHeader: NextHeader.IPV6 };
const FAILED: Readonly<Record<OpenFailure, OpenResult>> = {
  malformed: { ok: false, reason: 'malformed' },
  replayed: { ok: false, reason: 'replayed' },
  'bad-icv': { ok: false, reason: 'bad-icv' },
  'bad-padding': { ok: false, reason: 'bad-padding' },
  'not-ip': { ok: false, reason: 'not-ip' },
  dummy: { ok: false, reason: 'dummy' },
};

function move(packet: Packet, start: number, end: number, result: OpenResult): OpenResult {
  packet.start = start;
  packet.end = end;
  return result;
}

/** The protector of an SA, and what it authenticates ahead of and behind the packet's own octets. */
class Transform {
  readonly spi: number;
  /** Of the IV in the packet. */
  readonly ivLength: number;
  readonly icvLength: number;
  readonly alignment: number;
  readonly aead: boolean;
  readonly #protector: Protector;
  readonly #extended: boolean;
  /** SPI | sequence number: with ESN, all 64 bits of it for AEAD (RFC 4106 5), the low half for HMAC. */
  readonly #aad: Uint8Array;
  /** With ESN and HMAC: the high half (RFC 4303 2.2.1). */
  readonly #suffix: Uint8Array | undefined;
  /** All 64 bits of the sequence number, if they are the IV (RFC 8750 4). */
  readonly #implicitIv: Uint8Array | undefined;

  constructor(provider: CryptoProvider, { spi, suite, keys }: EspParameters) {
    const { aead, implicitIv } = encryptionOf(suite.encryption);
    const { ivLength, icvLength, blockLength } = protectionLayout(suite);
    this.#protector = provider.protector(suite, keys);
    this.spi = spi;
    this.ivLength = ivLength;
    this.icvLength = icvLength;
    this.alignment = espAlignment(blockLength);
    this.aead = aead;
    this.#extended = suite.esn;
    this.#aad = new Uint8Array(suite.esn && aead ? 12 : 8);
    this.#suffix = suite.esn && !aead ? new Uint8Array(4) : undefined;
    this.#implicitIv = implicitIv ? new Uint8Array(8) : undefined;
    writeU32(this.#aad, 0, spi);
  }

  seal(buffer: Uint8Array, sequence: number, iv: number, text: number, icv: number, end: number): void {
    this.#number(sequence);
    this.#protector.seal(
      this.#aad,
      this.#implicitIv ?? buffer.subarray(iv, text),
      buffer.subarray(text, icv),
      buffer.subarray(icv, end),
      this.#suffix,
    );
  }

  open(buffer: Uint8Array, sequence: number, iv: number, text: number, icv: number, end: number): boolean {
    this.#number(sequence);
    return this.#protector.open(
      this.#aad,
      this.#implicitIv ?? buffer.subarray(iv, text),
      buffer.subarray(text, icv),
      buffer.subarray(icv, end),
      this.#suffix,
    );
  }

  destroy(): void {
    this.#protector.destroy();
  }

  #number(sequence: number): void {
    writeU32(this.#aad, this.#aad.length - 4, sequence);
    if (this.#implicitIv !== undefined) {
      writeU32(this.#implicitIv, 0, Math.floor(sequence / 2 ** 32));
      writeU32(this.#implicitIv, 4, sequence);
    }
    if (!this.#extended) return;
    const high = Math.floor(sequence / 2 ** 32);
    if (this.#suffix === undefined) writeU32(this.#aad, 4, high);
    else writeU32(this.#suffix, 0, high);
  }
}

/** The low 32 bits of `value`, big-endian; a DataView would have to be made for each packet. */
function writeU32(buffer: Uint8Array, offset: number, value: number): void {
  buffer[offset] = value >>> 24;
  buffer[offset + 1] = value >>> 16;
  buffer[offset + 2] = value >>> 8;
  buffer[offset + 3] = value;
}

function readU32(buffer: Uint8Array, offset: number): number {
  return (
    ((buffer[offset] << 24) | (buffer[offset + 1] << 16) | (buffer[offset + 2] << 8) | buffer[offset + 3]) >>>
    0
  );
}
