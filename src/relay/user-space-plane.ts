import { userSpaceBackend } from '../backend/userspace/backend.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { Exit } from '../forward/exit.ts';
import type { Clock } from '../link/clock.ts';
import type { AssignedAddresses, BackendFactory, Tunnel } from '../link/sa-store.ts';
import type { Native } from '../native/native.ts';
import type { RelayConfig } from './config.ts';
import type { DataPlane, Drops } from './data-plane.ts';
import { Forwarder } from './forwarder.ts';
import { hostLinks, openExit } from './host.ts';
import { type HostLinks, RelayLink } from './relay-link.ts';
import type { Traffic } from './tunnel-sums.ts';

/** What a data plane in user space is made of; what is absent is made as the configuration says. */
export interface UserSpaceParts {
  /** @internal */
  readonly native?: Native;
  /** Default: ESP in user space. */
  readonly backend?: BackendFactory;
  /** Default: the host's networks. */
  readonly links?: HostLinks;
  /** Default: what the configuration asks for. It is closed with the data plane. */
  readonly exit?: Exit;
}

/** @throws LinkError, ExitError, NativeError, CommandError saying what to do; nothing is left open then */
export async function openUserSpacePlane(
  config: RelayConfig,
  { crypto, clock }: { readonly crypto: CryptoProvider; readonly clock: Clock },
  parts: UserSpaceParts,
): Promise<DataPlane> {
  const { native, backend = userSpaceBackend(crypto), links, exit } = parts;
  const link = new RelayLink(links ?? (await hostLinks(config, native)));
  const opened = exit ?? (await openExit(config, { native, clock, random: crypto.random }));
  return new UserSpacePlane(link, backend, new Forwarder(config, link, opened));
}

class UserSpacePlane implements DataPlane {
  readonly fixedKeys = [];
  readonly link: RelayLink;
  readonly backend: BackendFactory;
  readonly #forwarder: Forwarder;

  constructor(link: RelayLink, backend: BackendFactory, forwarder: Forwarder) {
    this.link = link;
    this.backend = backend;
    this.#forwarder = forwarder;
  }

  get drops(): Drops {
    return this.#forwarder.drops;
  }

  get traffic(): Traffic {
    return this.#forwarder.traffic;
  }

  adopt(config: RelayConfig): void {
    this.#forwarder.adopt(config);
  }

  get exitProblem(): string | undefined {
    return this.#forwarder.exitProblem;
  }

  addClient(assigned: AssignedAddresses, tunnel: Tunnel): () => void {
    return this.#forwarder.addClient(assigned, tunnel);
  }

  addOverlay(peer: string, tunnel: Tunnel): () => void {
    return this.#forwarder.addOverlay(peer, tunnel);
  }

  setOverlay(peer: string, tunnel: Tunnel | undefined): void {
    this.link.setOverlay(peer, tunnel);
  }

  closeExit(): Promise<void> {
    return this.#forwarder.closeExit();
  }

  close(): Promise<void> {
    return this.#forwarder.closeExit();
  }
}
