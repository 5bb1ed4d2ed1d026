import type { Link, Origin } from '../link/link.ts';
import type { AssignedAddresses, BackendFactory, Tunnel } from '../link/sa-store.ts';
import type { RelayConfig } from './config.ts';
import type { Traffic } from './tunnel-sums.ts';

/** Packets dropped, by reason; a bounded set of names. */
export type Drops = Readonly<Record<string, number>>;

/** What carries the packets of a relay, between clients, overlays, our own IKE and the exit. */
export interface DataPlane {
  /** The host's networks and the overlay tunnels together; origins name the overlay that a message came through. */
  readonly link: Link;
  readonly backend: BackendFactory;
  /** Those of tunnels that are gone included. */
  readonly drops: Drops;
  readonly traffic: Traffic;
  /** Keys of relay.yaml that can change while it is open only with another data plane. */
  readonly fixedKeys: readonly string[];
  /** Goes by another configuration from now on, which differs in no key that is fixed. */
  adopt(config: RelayConfig): void;
  /** Why nothing leaves any more, though this relay is an exit. */
  readonly exitProblem: string | undefined;
  /** A client from `origin` has been assigned addresses. @returns what to call when it is gone */
  addClient(assigned: AssignedAddresses, tunnel: Tunnel, origin: Origin): () => void;
  /** An overlay tunnel with the peer of this key id is up. @returns what to call when it is gone */
  addOverlay(peer: string, tunnel: Tunnel): () => void;
  /** Where packets for a peer go from now on; undefined: its overlay is down. */
  setOverlay(peer: string, tunnel: Tunnel | undefined): void;
  /** Nothing leaves from now on. */
  closeExit(): Promise<void>;
  /** Gives back what it opened. The endpoint on its link has been closed. */
  close(): Promise<void>;
}
