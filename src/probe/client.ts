import { userSpaceBackend } from '../backend/userspace/backend.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { IkeConnection } from '../endpoint/connection.ts';
import { Endpoint } from '../endpoint/endpoint.ts';
import type { ChildAnswer, RetransmissionSchedule } from '../ike/config.ts';
import { IkeError } from '../ike/errors.ts';
import type { Clock } from '../link/clock.ts';
import type { Link } from '../link/link.ts';
import { assignedAddress, hopConfig } from '../telescope/profile.ts';
import type { Address, Family } from '../wire/address.ts';
import { Witness } from './witness.ts';

/** A responder is given up after 7.5 seconds. */
const SCHEDULE: RetransmissionSchedule = { first: 500, factor: 2, cap: 2_000, tries: 5 };

/** What became of one attempt to be a client. */
export interface Attempt {
  readonly witness: Witness;
  /** The Child SA that it answered with, if it came to that. */
  readonly answer: ChildAnswer | undefined;
  /** Why there is no tunnel. */
  readonly error: IkeError | undefined;
  /** Present if there is one. */
  readonly connection: IkeConnection | undefined;
  close(): Promise<void>;
}

/** Where the responder is, and how it is spoken to. */
export interface Place {
  readonly address: Address;
  /** UDP port 4500 from the start. */
  readonly encapsulated: boolean;
  /** Of the address that it is to assign. */
  readonly family: Family;
}

/**
 * Does what a client does at its first hop, but for pinning a key and for judging the answer.
 * @param publicSharedKey - absent: NULL authentication
 * @throws LinkError
 */
export async function attempt(
  link: Link,
  { address, encapsulated, family }: Place,
  options: {
    readonly crypto: CryptoProvider;
    readonly clock: Clock;
    readonly publicSharedKey?: string;
    /** Says that it is the only one of its identity (RFC 7296 2.4), as stock clients do. */
    readonly initialContact?: boolean;
  },
): Promise<Attempt> {
  const { crypto, clock, publicSharedKey, initialContact = false } = options;
  const witness = new Witness(crypto);
  const watched = witness.watch(link);
  const endpoint = await Endpoint.open({ link: watched, backend: userSpaceBackend(crypto), crypto, clock });
  const target = {
    name: 'responder',
    publicKey: new Uint8Array(0),
    addresses: {},
    pools: {},
    overlayMtu: 0,
    ...(publicSharedKey !== undefined && { publicSharedKey }),
  };
  let answer: ChildAnswer | undefined;
  const config = {
    ...hopConfig(target, {
      crypto: witness.crypto,
      family,
      first: true,
      traversal: watched.origin(address, true),
      retransmission: SCHEDULE,
      keyLog: witness.keyLog,
    }),
    initialContact,
    acceptChild(made: ChildAnswer) {
      answer = made;
      return assignedAddress(made, family) === undefined ? `it assigned no IPv${family} address` : undefined;
    },
  };
  const result = { witness, close: () => endpoint.close() };
  try {
    const connection = await endpoint.connect(config, watched.origin(address, encapsulated));
    return { ...result, answer, error: undefined, connection };
  } catch (error) {
    if (!(error instanceof IkeError)) {
      await endpoint.close();
      throw error;
    }
    return { ...result, answer, error, connection: undefined };
  }
}
