import type { Millis } from '../link/clock.ts';
import { IpProtocol } from '../wire/ip.ts';
import type { AddressKey } from './address-key.ts';

/** Idle times in milliseconds. Only a client's packets refresh them (RFC 4787 REQ-6). */
export const SESSION_TIMEOUT = {
  /** RFC 4787 REQ-5: the recommended value. */
  udp: 300_000,
  /** RFC 5508 REQ-2. */
  icmp: 60_000,
  /** RFC 5382 REQ-5: opening and closing connections. */
  transitory: 240_000,
  /** RFC 5382 REQ-5: 2 hours 4 minutes. */
  established: 7_440_000,
} as const;

export type TimeoutClass = keyof typeof SESSION_TIMEOUT;

export const MAX_SESSIONS_PER_CLIENT = 1024;
export const MAX_SESSIONS = 65_536;
/** Ports below 1024, of which there are few: one client leaves some to others. */
export const MAX_LOW_PORTS_PER_CLIENT = 64;

/** A client's sessions; `address` is what inbound packets are addressed to. */
export interface NaptClient {
  readonly key: AddressKey;
  readonly address: Uint8Array;
  /** By protocol and the client's port or query id. */
  readonly mappings: Map<number, Mapping>;
  sessions: number;
  /** Mappings of ports (not query ids) below 1024. */
  lowPorts: number;
}

/** <private address, private port> to <exit address, exit port> (K5), the same towards every host (RFC 4787 REQ-1). */
export interface Mapping {
  readonly client: NaptClient;
  readonly protocol: number;
  readonly port: number;
  readonly exitPort: number;
  readonly sessions: Map<number | string, Session>;
}

/** A host (for TCP: and port) that a mapping's client has written to. */
export interface Session {
  readonly mapping: Mapping;
  readonly key: number | string;
  expires: Millis;
  timeout: TimeoutClass;
  /** TCP: what the NAPT has seen of the connection, as bits. */
  seen: number;
}

/**
 * The sessions and mappings of one exit address. A mapping lives as long as one of its sessions; sessions stand in
 * queues by time-out, so that expiry touches only what has expired.
 */
export class SessionTable {
  readonly #clients = new Map<AddressKey, NaptClient>();
  readonly #byExitPort = new Map<number, Mapping>();
  readonly #queues: Readonly<Record<TimeoutClass, Set<Session>>> = {
    udp: new Set(),
    icmp: new Set(),
    transitory: new Set(),
    established: new Set(),
  };
  #sessions = 0;
  #nextExpiry: Millis | undefined;

  /** No session expires before this; undefined while there is none. */
  get nextExpiry(): Millis | undefined {
    return this.#nextExpiry;
  }

  mapping(protocol: number, client: AddressKey, port: number): Mapping | undefined {
    return this.#clients.get(client)?.mappings.get(portKey(protocol, port));
  }

  mappingAt(protocol: number, exitPort: number): Mapping | undefined {
    return this.#byExitPort.get(portKey(protocol, exitPort));
  }

  hasRoom(client: AddressKey): boolean {
    const sessions = this.#clients.get(client)?.sessions ?? 0;
    return this.#sessions < MAX_SESSIONS && sessions < MAX_SESSIONS_PER_CLIENT;
  }

  hasLowPort(client: AddressKey): boolean {
    return (this.#clients.get(client)?.lowPorts ?? 0) < MAX_LOW_PORTS_PER_CLIENT;
  }

  /** A mapping without sessions; the caller opens one at once, having seen that there is room. */
  addMapping(
    protocol: number,
    client: AddressKey,
    address: Uint8Array,
    port: number,
    exitPort: number,
  ): Mapping {
    let owner = this.#clients.get(client);
    if (owner === undefined) {
      owner = { key: client, address: address.slice(), mappings: new Map(), sessions: 0, lowPorts: 0 };
      this.#clients.set(client, owner);
    }
    const mapping: Mapping = { client: owner, protocol, port, exitPort, sessions: new Map() };
    owner.mappings.set(portKey(protocol, port), mapping);
    if (isLowPort(protocol, exitPort)) owner.lowPorts++;
    this.#byExitPort.set(portKey(protocol, exitPort), mapping);
    return mapping;
  }

  open(mapping: Mapping, key: number | string, timeout: TimeoutClass, now: Millis): Session {
    const session: Session = { mapping, key, expires: now + SESSION_TIMEOUT[timeout], timeout, seen: 0 };
    mapping.sessions.set(key, session);
    mapping.client.sessions++;
    this.#sessions++;
    this.#enqueue(session);
    return session;
  }

  /** Starts the session's idle time again, in the given class; moves of under a second are not worth the work. */
  refresh(session: Session, timeout: TimeoutClass, now: Millis): void {
    const expires = now + SESSION_TIMEOUT[timeout];
    if (session.timeout === timeout && expires - session.expires < 1000) return;
    this.#queues[session.timeout].delete(session);
    session.timeout = timeout;
    session.expires = expires;
    this.#enqueue(session);
  }

  /** Removes what has been idle for too long. */
  expire(now: Millis): void {
    if (this.#nextExpiry === undefined || now < this.#nextExpiry) return;
    this.#nextExpiry = undefined;
    for (const queue of Object.values(this.#queues)) {
      for (const session of queue) {
        if (session.expires > now) {
          this.#nextExpiry = Math.min(this.#nextExpiry ?? session.expires, session.expires);
          break;
        }
        this.#remove(session);
      }
    }
  }

  release(client: AddressKey): void {
    for (const mapping of this.#clients.get(client)?.mappings.values() ?? []) {
      for (const session of mapping.sessions.values()) this.#remove(session);
    }
  }

  #enqueue(session: Session): void {
    this.#queues[session.timeout].add(session);
    this.#nextExpiry = Math.min(this.#nextExpiry ?? session.expires, session.expires);
  }

  #remove(session: Session): void {
    const { mapping } = session;
    const { client } = mapping;
    this.#queues[session.timeout].delete(session);
    mapping.sessions.delete(session.key);
    client.sessions--;
    this.#sessions--;
    if (mapping.sessions.size > 0) return;
    client.mappings.delete(portKey(mapping.protocol, mapping.port));
    if (isLowPort(mapping.protocol, mapping.exitPort)) client.lowPorts--;
    this.#byExitPort.delete(portKey(mapping.protocol, mapping.exitPort));
    if (client.mappings.size === 0) this.#clients.delete(client.key);
  }
}

/** A query id is not a port. */
export function isLowPort(protocol: number, port: number): boolean {
  return port < 1024 && (protocol === IpProtocol.UDP || protocol === IpProtocol.TCP);
}

function portKey(protocol: number, port: number): number {
  return protocol * 65_536 + port;
}
