import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { AddressPool } from '../../src/cp/address-pool.ts';
import type { CryptoProvider, SigningKey } from '../../src/crypto/provider.ts';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { Endpoint, type Listener } from '../../src/endpoint/endpoint.ts';
import type {
  Identity,
  InitiatorConfig,
  LocalAuthentication,
  RemoteAuthentication,
  ResponderConfig,
  ResponderProfile,
} from '../../src/ike/config.ts';
import { IdType } from '../../src/ike/constants.ts';
import type { Clock } from '../../src/link/clock.ts';
import type { Origin } from '../../src/link/link.ts';
import type { BackendFactory } from '../../src/link/sa-store.ts';
import { HostLink, type InheritedSockets } from '../../src/transport/host-link.ts';
import { type Address, addressBytes, anyAddress, familyOf, parsePrefix } from '../../src/wire/address.ts';
import { utf8 } from '../../src/wire/bytes.ts';
import { prefixSelector } from '../../src/wire/traffic-selector.ts';
import { native, within } from '../support/namespaces.ts';
import type { Connection, Proof } from './daemons/daemon.ts';
import { HeldLink } from './held-link.ts';
import { proposal } from './suites.ts';
import { ADDRESSES, type World } from './world.ts';

/** Soon enough for tests, patient enough for a machine that does much else. */
const RETRANSMISSION = { first: 500, factor: 2, cap: 2_000, tries: 6 };

/** Half-open IKE SAs from which on we ask for cookies, unless a cell says otherwise. */
export const COOKIE_THRESHOLD = 100;

/** What a cell changes in our configuration, whichever our role is. */
export interface OurChanges {
  readonly initiator?: Partial<InitiatorConfig>;
  readonly responder?: Partial<ResponderConfig>;
  readonly listener?: Partial<Listener>;
}

/** What our end is made with. */
export interface OurMeans {
  readonly crypto: CryptoProvider;
  readonly backend: BackendFactory;
  readonly clock: Clock;
}

/** The same, and what differs in our own view of the connection. */
export interface OurView extends OurChanges {
  readonly connection?: Partial<Connection>;
}

/** Our end of a connection. */
export class OurEnd {
  readonly endpoint: Endpoint;
  readonly link: HeldLink;
  readonly #config: InitiatorConfig | undefined;
  readonly #to: Origin;
  readonly #accepted: IkeConnection[] = [];

  private constructor(endpoint: Endpoint, link: HeldLink, config: InitiatorConfig | undefined, to: Origin) {
    this.endpoint = endpoint;
    this.link = link;
    this.#config = config;
    this.#to = to;
  }

  static async open(
    world: World,
    { crypto, backend, clock }: OurMeans,
    connection: Connection,
    changes: OurChanges,
  ): Promise<OurEnd> {
    const address = world.ourAddress[familyOf(connection.here)];
    const isMobile = connection.mobike === true && connection.role === 'responder';
    const link = new HeldLink(hostLink(world, address, isMobile ? connection.here : undefined));
    const endpoint = await Endpoint.open({
      link,
      backend,
      crypto,
      clock,
      isKnownPeer: () => true,
    });
    const to = link.origin(connection.here, false);
    if (connection.role === 'responder') {
      const traversal = link.origin(connection.here, true);
      const config = initiatorConfig(crypto, connection, { ...changes.initiator, traversal });
      return new OurEnd(endpoint, link, config, to);
    }
    const end = new OurEnd(endpoint, link, undefined, to);
    endpoint.listen({
      config: responderConfig(crypto, connection, changes),
      cookieThreshold: COOKIE_THRESHOLD,
      maxHalfOpen: 100,
      onChild: (accepted) => {
        if (!end.#accepted.includes(accepted)) end.#accepted.push(accepted);
      },
      onClosed: () => {},
      ...changes.listener,
    });
    return end;
  }

  /** Sets up the IKE SA with the daemon. @throws IkeError */
  connect(): Promise<IkeConnection> {
    if (this.#config === undefined) throw new Error('the daemon is the initiator');
    return this.endpoint.connect(this.#config, this.#to);
  }

  /** The newest IKE SA with a Child SA that the daemon has set up. */
  get accepted(): IkeConnection | undefined {
    return this.#accepted.at(-1);
  }

  close(): Promise<void> {
    return this.endpoint.close();
  }
}

/** @param towards - whom our address may change for */
function hostLink({ ours }: World, address: Address, towards: Address | undefined): HostLink {
  const bound = towards === undefined ? address : anyAddress(familyOf(address));
  const sockets = within(
    ours,
    (): InheritedSockets => ({
      ike: native().openUdp(bound, 500),
      encapsulated: native().openUdp(bound, 4500),
      rawEsp: native().openRawEsp(bound).fd,
      ...(towards !== undefined && { route: native().openUdp(bound, 0) }),
    }),
  );
  return new HostLink({ address, ...(towards && { towards }), mtu: 1500, native: native(), sockets });
}

function common(crypto: CryptoProvider, { suites }: Connection) {
  return {
    crypto,
    ikeProposals: suites.ike.split(',').map((each) => proposal(each, 'ike')),
    childProposals: suites.esp.split(',').map((each) => proposal(each, 'esp')),
    retransmission: RETRANSMISSION,
  };
}

/** Ours when the daemon is the responder. @param changes - its own terms */
export function initiatorConfig(
  crypto: CryptoProvider,
  connection: Connection,
  changes: Partial<InitiatorConfig>,
): InitiatorConfig {
  const { local, remote, pools, dns = [], localTs, remoteTs, ppk, childless } = connection;
  const assigned = [4, 6].map(
    (family) => pools?.some((pool) => parsePrefix(pool).family === family) ?? false,
  );
  const [ip4, ip6] = assigned;
  const any = (localTs as readonly string[]).map((prefix) => prefixSelector(parsePrefix(prefix)));
  const child = {
    tsI:
      remoteTs === 'dynamic'
        ? [...(ip4 ? ['0.0.0.0/0'] : []), ...(ip6 ? ['::/0'] : [])].map((all) =>
            prefixSelector(parsePrefix(all)),
          )
        : remoteTs.map((prefix) => prefixSelector(parsePrefix(prefix))),
    tsR: any,
    ...(remoteTs === 'dynamic' && {
      addresses: { ip4, ip6, ip4Dns: ip4 && dns.length > 0, ip6Dns: ip6 && dns.length > 0 },
    }),
  };
  return {
    ...common(crypto, connection),
    local: localAuthentication(crypto, remote),
    remote: remoteAuthentication(local),
    ...(!childless && { child }),
    acceptChild: () => undefined,
    initialContact: false,
    natDetection: true,
    mobike: connection.mobike ?? false,
    ...(ppk !== undefined && { ppk: { id: ppkId(ppk.id), secret: ppk.secret, mandatory: ppk.required } }),
    fragmentation: connection.fragmentSize !== undefined,
    ...changes,
  };
}

function responderProfile(crypto: CryptoProvider, connection: Connection): ResponderProfile {
  const { local, remote, localTs, remoteTs, requests = [], dns = [], ppk, mobike } = connection;
  const selectors = (prefixes: readonly string[]) =>
    prefixes.map((each) => prefixSelector(parsePrefix(each)));
  const pool = new AddressPool({
    ...(requests.includes(4) && { ip4: parsePrefix('10.99.0.0/24') }),
    ...(requests.includes(6) && { ip6: parsePrefix('fd99::/64') }),
    ip4Dns: dns.filter((address) => familyOf(address) === 4),
    ip6Dns: dns.filter((address) => familyOf(address) === 6),
    random: crypto.random,
  });
  return {
    name: 'daemon',
    local: localAuthentication(crypto, remote),
    remote: remoteAuthentication(local),
    tsLocal: selectors(remoteTs === 'dynamic' ? ['0.0.0.0/0', '::/0'] : remoteTs),
    tsRemote: requests.length > 0 ? [] : selectors(localTs as readonly string[]),
    ...(requests.length > 0 && { assigner: pool }),
    maxChildren: 4,
    ...(mobike && { mobike: () => true }),
    ...(ppk !== undefined && {
      ppk: { keys: [{ id: ppkId(ppk.id), secret: ppk.secret }], mandatory: ppk.required },
    }),
  };
}

/** Ours when the daemon is the initiator. */
export function responderConfig(
  crypto: CryptoProvider,
  connection: Connection,
  changes: OurChanges,
): ResponderConfig {
  const profile = responderProfile(crypto, connection);
  const { ppk, childless } = connection;
  const authorities = connection.local.kind === 'certificate' ? [authorityOf(connection.local)] : [];
  return {
    ...common(crypto, connection),
    profile: () => profile,
    halfOpenTimeout: 30_000,
    ...(authorities.length > 0 && { certificateAuthorities: authorities }),
    ...(ppk !== undefined && { usesPpk: true }),
    ...(childless && { childless: 'required' }),
    ...changes.responder,
  };
}

/** PPK_ID of type 2: PPK_ID_FIXED (RFC 8784 5.1). */
function ppkId(name: string): Uint8Array {
  return Uint8Array.of(2, ...utf8(name));
}

function localAuthentication(crypto: CryptoProvider, proof: Proof): LocalAuthentication {
  switch (proof.kind) {
    case 'null':
      return { kind: 'null' };
    case 'psk':
      return { kind: 'shared-key', identity: identity(proof.identity), secret: utf8(proof.secret) };
    case 'raw':
    case 'certificate': {
      const { key, identity: name } = proof;
      const certificates = proof.kind === 'certificate' && {
        certificates: key.certificates!.slice(0, -1).map(der),
      };
      return {
        kind: 'signature',
        identity: identity(name),
        key: signingKey(crypto, key.privateKey),
        sendKey: false,
        ...certificates,
      };
    }
  }
}

function remoteAuthentication(proof: Proof): RemoteAuthentication {
  switch (proof.kind) {
    case 'null':
      return { kind: 'null' };
    case 'psk':
      return { kind: 'shared-key', secret: utf8(proof.secret) };
    case 'raw':
      return { kind: 'signature', publicKey: publicKey(proof.key.publicKey) };
    case 'certificate':
      return { kind: 'certificate', authorities: [authorityOf(proof)], time: () => Date.now() };
  }
}

function authorityOf({ key }: Extract<Proof, { readonly kind: 'certificate' }>): Uint8Array {
  return der(key.certificates!.at(-1)!);
}

/** As strongSwan reads them: "keyid:", e-mail addresses, IP addresses, and otherwise names. */
function identity(text: string): Identity {
  if (text.startsWith('keyid:')) return { type: IdType.ID_KEY_ID, data: utf8(text.slice(6)) };
  if (text.includes('@')) return { type: IdType.ID_RFC822_ADDR, data: utf8(text) };
  if (/^[\d.]+$/.test(text)) return { type: IdType.ID_IPV4_ADDR, data: addressBytes(text) };
  return { type: IdType.ID_FQDN, data: utf8(text) };
}

function der(pem: string): Uint8Array {
  return new Uint8Array(new X509Certificate(pem).raw);
}

function publicKey(pem: string): Uint8Array {
  return new Uint8Array(createPublicKey(pem).export({ format: 'der', type: 'spki' }));
}

function signingKey(crypto: CryptoProvider, pem: string): SigningKey {
  const pkcs8 = createPrivateKey(pem).export({ format: 'der', type: 'pkcs8' });
  return crypto.signatures.fromPkcs8(new Uint8Array(pkcs8));
}

/** Where the other end of a tunnel is, on our side: the address that was assigned to us, or a host that we protect. */
export function ourInner(connection: IkeConnection, family: 4 | 6): Address {
  const { assigned } = connection.child!.info;
  const isOurs = connection.role === 'initiator' && assigned !== undefined;
  if (!isOurs) return ADDRESSES.oursInner[family];
  return family === 4 ? assigned.ip4! : assigned.ip6!.address;
}

/** The same on the daemon's side. */
export function theirInner(connection: IkeConnection, family: 4 | 6): Address {
  const { assigned } = connection.child!.info;
  const isTheirs = connection.role === 'responder' && assigned !== undefined;
  if (!isTheirs) return ADDRESSES.daemonInner[family];
  return family === 4 ? assigned.ip4! : assigned.ip6!.address;
}
