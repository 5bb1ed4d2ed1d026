import { type Address, addressBytes, familyOf } from '../wire/address.ts';
import { fromHex, hex, utf8 } from '../wire/bytes.ts';
import { internetChecksum } from '../wire/ip.ts';
import { dissectFrame, type Segment } from './frame.ts';

/** Something that an observer may or may not come to know, with the octets that give it away. */
export interface Fact {
  /** "S", "S_A", "page". */
  readonly label: string;
  /** Shown in reports: the address, or a few words. */
  readonly text: string;
  readonly patterns: readonly Uint8Array[];
  /** What it is called in the text of a node's own report. */
  readonly words: readonly string[];
}

/** A fact that is an address, in the forms in which it could leak: binary, dotted or colon text, hex. */
export function addressFact(label: string, address: Address): Fact {
  const binary = addressBytes(address);
  const digits = hex(binary);
  return {
    label,
    text: address,
    patterns: [binary, utf8(address), utf8(digits), utf8(digits.toUpperCase())],
    words: [address],
  };
}

/** A fact that is the two SPIs of a tunnel: what would tie links together. */
export function spiFact(label: string, spis: readonly number[]): Fact {
  const digits = spis.map(spiText);
  return { label, text: digits.join(' '), patterns: digits.map(fromHex), words: spis.map(String) };
}

/** Eight hex digits. */
export function spiText(spi: number): string {
  return spi.toString(16).padStart(8, '0');
}

/** Where a fact was found on a link. */
export interface Sighting {
  readonly fact: Fact;
  /** Counted from 1, as packet analysers do; and the octet in it. */
  readonly frame: number;
  readonly offset: number;
}

/** What an observer of one link learns without any key. */
export interface LinkView {
  readonly frames: number;
  readonly octets: number;
  /** In IP and ARP headers, sorted. */
  readonly addresses: readonly Address[];
  /** ESP SPIs in hex, sorted. */
  readonly spis: readonly string[];
  /** "500", "80", sorted; of TCP and UDP, the lower of source and destination: the service. */
  readonly services: readonly number[];
  /** IKE identities in clear ("type:data"). */
  readonly identities: readonly string[];
  /** The first sighting of each fact that was seen. */
  readonly sightings: readonly Sighting[];
}

/** Octets from which on a pattern does not turn up by chance. */
const UNMISTAKABLE = 8;

/** Looks at every captured frame of a link, and for `facts` in every octet of it. */
export function observeLink(frames: readonly Uint8Array[], facts: readonly Fact[]): LinkView {
  const addresses = new Set<Address>();
  const spis = new Set<string>();
  const services = new Set<number>();
  const identities = new Set<string>();
  const sightings = new Map<string, Sighting>();
  const search = new FactSearch(facts);
  let octets = 0;
  for (const [index, bytes] of frames.entries()) {
    const dissection = dissectFrame(bytes);
    octets += bytes.length;
    for (const address of dissection.addresses) addresses.add(address);
    for (const identity of dissection.identities) identities.add(identity);
    if (dissection.spi !== undefined) spis.add(spiText(dissection.spi));
    if (dissection.ports !== undefined) services.add(Math.min(...dissection.ports));
    for (const { fact, offset } of search.look(bytes, dissection.segments)) {
      if (!sightings.has(fact.label)) sightings.set(fact.label, { fact, frame: index + 1, offset });
    }
  }
  return {
    frames: frames.length,
    octets,
    addresses: [...addresses].sort(byOctets),
    spis: [...spis].sort(),
    services: [...services].sort((a, b) => a - b),
    identities: [...identities].sort(),
    sightings: [...sightings.values()],
  };
}

/**
 * Searches for facts so that chance cannot find one. Four octets of an IPv4 address are in a megabyte of ciphertext once
 * in four thousand runs; so where the octets are random by design, a match that short counts only if it is a source or
 * destination of an IPv4 header with a right checksum (a packet that was not encrypted), or if another frame has the same
 * fact at the same offset (a field that was not encrypted). By chance that is seen once in 10^9 runs.
 */
class FactSearch {
  readonly #facts: readonly Fact[];
  /** "fact@offset" of unconfirmed matches, with the frame. */
  readonly #suspicions = new Map<string, Uint8Array>();

  constructor(facts: readonly Fact[]) {
    this.#facts = facts;
  }

  *look(bytes: Uint8Array, segments: readonly Segment[]): Generator<{ fact: Fact; offset: number }> {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (const fact of this.#facts) {
      for (const pattern of fact.patterns) {
        for (let at = buffer.indexOf(pattern); at >= 0; at = buffer.indexOf(pattern, at + 1)) {
          if (this.#counts(fact, pattern, bytes, at, segments)) yield { fact, offset: at };
        }
      }
    }
  }

  #counts(
    fact: Fact,
    pattern: Uint8Array,
    bytes: Uint8Array,
    at: number,
    segments: readonly Segment[],
  ): boolean {
    if (pattern.length >= UNMISTAKABLE) return true;
    const end = at + pattern.length;
    const touched = segments.filter((segment) => segment.start < end && segment.end > at);
    const covered = touched.reduce((sum, s) => sum + Math.min(s.end, end) - Math.max(s.start, at), 0);
    if (covered < pattern.length) return false;
    if (touched.every(({ random }) => !random)) return true;
    if (isInIpHeader(bytes, at)) return true;
    const place = `${fact.label}@${at}`;
    const earlier = this.#suspicions.get(place);
    if (earlier === undefined) this.#suspicions.set(place, bytes);
    return earlier !== undefined && Buffer.compare(earlier, bytes) !== 0;
  }
}

/** Whether the four octets at `at` are the source or destination of an IPv4 header without options. */
function isInIpHeader(bytes: Uint8Array, at: number): boolean {
  return [at - 12, at - 16].some(
    (start) =>
      start >= 0 &&
      start + 20 <= bytes.length &&
      bytes[start] === 0x45 &&
      internetChecksum(bytes, start, start + 20) === 0,
  );
}

function byOctets(a: Address, b: Address): number {
  return familyOf(a) - familyOf(b) || Buffer.compare(addressBytes(a), addressBytes(b));
}
