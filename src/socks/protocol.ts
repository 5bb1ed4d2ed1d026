import { type Address, addressBytes, addressText, familyOf } from '../wire/address.ts';

/*
 * SOCKS 5 (RFC 1928) with user names and passwords (RFC 1929), as octets: the server's side. Sans-IO.
 */

/** What a client did wrong, and the octets to answer with before its connection is closed. */
export class SocksError extends Error {
  override readonly name = 'SocksError';
  readonly answer: Uint8Array;

  constructor(message: string, answer: Uint8Array) {
    super(message);
    this.answer = answer;
  }
}

/** RFC 1928 section 6. */
export const SocksReply = {
  SUCCEEDED: 0,
  GENERAL_FAILURE: 1,
  NOT_ALLOWED: 2,
  NETWORK_UNREACHABLE: 3,
  HOST_UNREACHABLE: 4,
  CONNECTION_REFUSED: 5,
  TTL_EXPIRED: 6,
  COMMAND_NOT_SUPPORTED: 7,
  ADDRESS_TYPE_NOT_SUPPORTED: 8,
} as const;
export type SocksReply = (typeof SocksReply)[keyof typeof SocksReply];

/** A host, by its address or a name that the exit's side resolves, and a port. */
export interface SocksTarget {
  readonly host: Address | { readonly name: string };
  readonly port: number;
}

export interface SocksRequest extends SocksTarget {
  readonly command: 'connect' | 'udp-associate';
  /** The user name and the password, as one text: connections that differ in it share no telescope. Empty without. */
  readonly credentials: string;
}

const VERSION = 5;
const NONE = 0;
const PASSWORD = 2;
const NO_ACCEPTABLE_METHOD = 0xff;
const PASSWORD_VERSION = 1;
const COMMANDS = new Map([
  [1, 'connect'],
  [3, 'udp-associate'],
] as const);
const AddressType = { IP4: 1, NAME: 3, IP6: 4 } as const;
const UNSPECIFIED = { host: '0.0.0.0', port: 0 };

/** What the octets of a client come to so far. */
export type SocksStep =
  /** More are needed. */
  | { readonly kind: 'incomplete' }
  /** An answer, after which it goes on. */
  | { readonly kind: 'answer'; readonly octets: Uint8Array }
  /** All is said; `rest` is the beginning of what it sends to its target. */
  | { readonly kind: 'request'; readonly request: SocksRequest; readonly rest: Uint8Array };

/** A client's part of the negotiation. At most 1 kB of it is kept. */
export class SocksNegotiation {
  #octets = new Uint8Array(0);
  #next: 'greeting' | 'password' | 'request' = 'greeting';
  #credentials = '';

  /**
   * Takes what the client has sent; then call it without anything until it is incomplete or a request.
   * @throws SocksError
   */
  step(more: Uint8Array = new Uint8Array(0)): SocksStep {
    const octets = new Uint8Array(this.#octets.length + more.length);
    octets.set(this.#octets);
    octets.set(more, this.#octets.length);
    this.#octets = octets;
    switch (this.#next) {
      case 'greeting':
        return this.#greeting(octets);
      case 'password':
        return this.#password(octets);
      case 'request':
        return this.#request(octets);
    }
  }

  #greeting(octets: Uint8Array): SocksStep {
    if (octets.length > 0 && octets[0] !== VERSION) {
      const version =
        octets[0] === 4 ? 'SOCKS 4, which leaves names to be resolved in clear' : 'another protocol';
      throw new SocksError(`the client speaks ${version}; it has to speak SOCKS 5`, new Uint8Array(0));
    }
    const end = 2 + octets[1];
    if (!(octets.length >= end)) return INCOMPLETE;
    const methods = octets.subarray(2, end);
    const method = [PASSWORD, NONE].find((each) => methods.includes(each));
    if (method === undefined) {
      const answer = new Uint8Array([VERSION, NO_ACCEPTABLE_METHOD]);
      throw new SocksError('the client offers neither a password nor no authentication', answer);
    }
    this.#next = method === PASSWORD ? 'password' : 'request';
    return this.#answer([VERSION, method], end);
  }

  #password(octets: Uint8Array): SocksStep {
    if (octets.length > 0 && octets[0] !== PASSWORD_VERSION) {
      throw new SocksError('the client sends no user name', new Uint8Array([PASSWORD_VERSION, 1]));
    }
    const password = 2 + octets[1];
    const end = password + 1 + octets[password];
    if (!(octets.length >= end)) return INCOMPLETE;
    const texts = [octets.subarray(2, password), octets.subarray(password + 1, end)];
    this.#credentials = JSON.stringify(texts.map((text) => Buffer.from(text).toString('latin1')));
    this.#next = 'request';
    return this.#answer([PASSWORD_VERSION, 0], end);
  }

  #request(octets: Uint8Array): SocksStep {
    if (octets.length > 0 && octets[0] !== VERSION)
      throw refusal('the request is none', SocksReply.GENERAL_FAILURE);
    if (octets.length < 4) return INCOMPLETE;
    const command = COMMANDS.get(octets[1] as 1 | 3);
    if (command === undefined) {
      throw refusal(`command ${octets[1]} is not supported`, SocksReply.COMMAND_NOT_SUPPORTED);
    }
    const target = parseTarget(octets, 3);
    if (target === undefined) return INCOMPLETE;
    const { end, ...where } = target;
    const request = { command, ...where, credentials: this.#credentials };
    return { kind: 'request', request, rest: octets.slice(end) };
  }

  #answer(octets: readonly number[], end: number): SocksStep {
    this.#octets = this.#octets.slice(end);
    return { kind: 'answer', octets: new Uint8Array(octets) };
  }
}

const INCOMPLETE: SocksStep = { kind: 'incomplete' };

/** The answer to a request. @param bound - for UDP: where the client is to send its datagrams */
export function socksReply(
  reply: SocksReply,
  bound: { host: Address; port: number } = UNSPECIFIED,
): Uint8Array {
  return new Uint8Array([VERSION, reply, 0, ...targetOctets(bound.host, bound.port)]);
}

/** A datagram that a client sent to be relayed (RFC 1928 section 7). */
export interface SocksDatagram extends SocksTarget {
  readonly payload: Uint8Array;
}

/** @returns undefined for what is none, or a fragment: those are dropped */
export function parseSocksDatagram(octets: Uint8Array): SocksDatagram | undefined {
  if (octets.length < 4 || octets[2] !== 0) return undefined;
  try {
    const target = parseTarget(octets, 3);
    return target && { host: target.host, port: target.port, payload: octets.subarray(target.end) };
  } catch {
    return undefined;
  }
}

/** A datagram for a client, from `source`. */
export function socksDatagram(source: { host: Address; port: number }, payload: Uint8Array): Uint8Array {
  const target = targetOctets(source.host, source.port);
  const octets = new Uint8Array(3 + target.length + payload.length);
  octets.set(target, 3);
  octets.set(payload, 3 + target.length);
  return octets;
}

/** @throws SocksError */
function parseTarget(
  octets: Uint8Array,
  start: number,
): (SocksTarget & { readonly end: number }) | undefined {
  const type = octets[start];
  const isName = type === AddressType.NAME;
  if (isName && octets.length < start + 2) return undefined;
  const first = start + (isName ? 2 : 1);
  const length = isName ? octets[start + 1] : type === AddressType.IP4 ? 4 : 16;
  if (!isName && type !== AddressType.IP4 && type !== AddressType.IP6) {
    throw refusal(`address type ${type} is not supported`, SocksReply.ADDRESS_TYPE_NOT_SUPPORTED);
  }
  const end = first + length + 2;
  if (octets.length < end) return undefined;
  const host = octets.subarray(first, first + length);
  const port = (octets[end - 2] << 8) | octets[end - 1];
  if (!isName) return { host: addressText(host), port, end };
  const name = Buffer.from(host).toString('latin1');
  if (!/^[\x21-\x7e]+$/.test(name)) throw refusal('the name is none', SocksReply.GENERAL_FAILURE);
  return { host: { name }, port, end };
}

function targetOctets(host: Address, port: number): number[] {
  const type = familyOf(host) === 4 ? AddressType.IP4 : AddressType.IP6;
  return [type, ...addressBytes(host), port >> 8, port & 0xff];
}

function refusal(message: string, reply: SocksReply): SocksError {
  return new SocksError(message, socksReply(reply));
}
