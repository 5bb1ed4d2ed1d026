import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { packetFrom } from '../../src/link/packet.ts';
import { familyOf } from '../../src/wire/address.ts';
import { hex } from '../../src/wire/bytes.ts';
import { native, udpIn, within } from '../support/namespaces.ts';
import type { Connection, Daemon, DaemonName, DaemonSas, Installation } from './daemons/daemon.ts';
import { PATIENCE } from './expect.ts';
import { OurEnd, type OurMeans, type OurView, ourInner, theirInner } from './ours.ts';
import { Traffic } from './traffic.ts';
import { type Ends, exchangeFiles, type FileReport, pause } from './transfer.ts';
import type { NatSide, World } from './world.ts';
import { openWorld } from './world.ts';

/** A daemon and our end, each on its host, and what a cell does with them. */
export class Running {
  readonly world: World;
  readonly daemon: Daemon;
  readonly ours: OurEnd;
  readonly spec: Connection;
  readonly traffic: Traffic;
  /** Whether ESP is not to be in UDP: no NAT is between the ends. strongSwan 5.9 always pretends that there is one. */
  readonly isPlain: boolean;
  readonly name: DaemonName;
  readonly nat: NatSide | undefined;
  readonly files: { up: FileReport; down: FileReport }[] = [];
  /** What the daemon reported when all was well. */
  sas: DaemonSas | undefined;
  #connection: IkeConnection | undefined;
  #failed: Error | undefined;
  #ends = new Map<4 | 6, Ends>();

  private constructor(
    world: World,
    traffic: Traffic,
    daemon: Daemon,
    ours: OurEnd,
    spec: Connection,
    name: DaemonName,
    nat: NatSide | undefined,
  ) {
    this.isPlain = nat === undefined && name !== 'strongswan-5.9';
    this.name = name;
    this.nat = nat;
    this.world = world;
    this.traffic = traffic;
    this.daemon = daemon;
    this.ours = ours;
    this.spec = spec;
  }

  /** @param seen - the connection as we see it, and what our configuration has besides */
  static async open(
    installation: Installation,
    means: OurMeans,
    spec: Connection,
    { connection, ...changes }: OurView,
    nat: NatSide | undefined,
  ): Promise<Running> {
    const undo: (() => unknown)[] = [];
    try {
      const world = await openWorld(nat);
      undo.push(() => world.close());
      const traffic = new Traffic(world);
      undo.push(() => traffic.close());
      const ours = await OurEnd.open(world, means, { ...spec, ...connection }, changes);
      undo.push(() => ours.close());
      const here = world.daemonAddress[familyOf(spec.here)];
      const daemon = await installation.start(world.daemon, { ...spec, here });
      return new Running(world, traffic, daemon, ours, spec, installation.name, nat);
    } catch (error) {
      for (const close of undo.reverse()) await close();
      throw error;
    }
  }

  /** The IKE SA, once it is established. */
  get connection(): IkeConnection {
    if (this.#connection === undefined) throw new Error('there is no IKE SA');
    return this.#connection;
  }

  /** The initiator sets up the IKE SA; both ends have the same SAs when this resolves. */
  async establish(): Promise<void> {
    if (this.spec.role === 'responder') await this.connect();
    else {
      await this.daemon.initiate();
      this.#use(await this.until('the IKE SA at our end', () => this.ours.accepted));
    }
    await this.agree();
  }

  /** Goes on with the IKE SA that the daemon has set up last. */
  follow(): void {
    this.#use(this.ours.accepted!);
  }

  /** We set up the IKE SA. */
  async connect(): Promise<IkeConnection> {
    return this.#use(await this.ours.connect());
  }

  #use(connection: IkeConnection): IkeConnection {
    this.#connection = connection;
    this.#failed = undefined;
    connection.closed.then((error) => {
      if (connection === this.#connection) this.#failed = error;
    });
    return connection;
  }

  /** Why the IKE SA has ended, if it failed: whatever is seen after that comes of it. */
  get failed(): Error | undefined {
    return this.#failed;
  }

  /** Waits until the daemon has just the Child SAs that we have, and keeps what it says of them. */
  async agree(): Promise<DaemonSas> {
    this.sas = await this.until('both ends to have the same SAs', async () => {
      const sas = await this.daemon.sas();
      const { child, closed } = this.connection;
      if (this.ours.endpoint.size === 0) throw (await closed) ?? new Error('our IKE SA is gone');
      const { info } = child ?? {};
      if (info === undefined || sas.ike === undefined || sas.children.length !== 1) return undefined;
      const [{ spiIn, spiOut }] = sas.children;
      return Number.parseInt(spiIn, 16) === info.spiOut && Number.parseInt(spiOut, 16) === info.spiIn
        ? sas
        : undefined;
    });
    return this.sas;
  }

  /** The hosts at both ends of the tunnel. */
  ends(family: 4 | 6): Ends {
    const known = this.#ends.get(family);
    if (known !== undefined && known.tunnel === this.connection.child?.tunnel) return known;
    const theirs = theirInner(this.connection, family);
    if (theirs !== known?.theirs) known?.socket.close();
    const socket = theirs === known?.theirs ? known.socket : this.world.inner(theirs);
    const ends = {
      tunnel: this.connection.child!.tunnel,
      ours: ourInner(this.connection, family),
      theirs,
      socket,
    };
    this.#ends.set(family, ends);
    return ends;
  }

  /** Sends a file each way, in each family that the tunnel carries. */
  async exchangeFiles(): Promise<void> {
    const { local } = this.connection.child!.tunnel.policy;
    const families = [4, 6] as const;
    for (const family of families.filter((each) => local.some((selector) => selector.family === each)))
      this.files.push(await exchangeFiles(this.ends(family)));
    this.sas = await this.daemon.sas();
    const octets = this.files.slice(-1)[0].up.octets;
    const unseen = this.sas.children.find(({ bytesIn, bytesOut }) => Math.min(bytesIn, bytesOut) < octets);
    if (unseen !== undefined) throw new Error(`the daemon has seen too little: ${JSON.stringify(unseen)}`);
  }

  /** Waits until all that we ask the daemon is in the IKE SA that it uses; it may still ask things in others, which it deletes. */
  async agreeOnIkeSa(): Promise<void> {
    await this.until('both ends to have the same IKE SA', async () => {
      const before = this.traffic.requests('ours').length;
      if (!(await this.connection.checkLiveness())) throw new Error('the daemon does not answer');
      const { ike } = await this.daemon.sas();
      const used = this.traffic.requests('ours').slice(before);
      const spis = used.map((message) => hex(message.subarray(0, 16)));
      return ike !== undefined && spis.length > 0 && spis.every((each) => each === ike.spiI + ike.spiR);
    });
  }

  /** @throws Error if it does not become true soon */
  async until<T>(
    what: string,
    ready: () => T | undefined | false | Promise<T | undefined | false>,
    patience = PATIENCE,
  ): Promise<T> {
    const end = performance.now() + patience;
    for (;;) {
      const value = await ready();
      if (value !== undefined && value !== false) return value;
      if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
      await pause(50);
    }
  }

  /** Sends us an ESP packet from the daemon's host. */
  inject(packet: Uint8Array, kind: string): void {
    const { daemon, daemonAddress, ourAddress } = this.world;
    if (kind === 'esp') {
      const socket = within(daemon, () => native().openRawEsp(daemonAddress[4]));
      socket.send(packetFrom(packet), ourAddress[4]);
      socket.close();
    } else {
      const socket = udpIn(daemon, daemonAddress[4]);
      socket.send(packet, ourAddress[4], 4500);
      setTimeout(() => socket.close(), 100);
    }
  }

  /** ESP and IKE of ours have neither the ECN nor the DSCP of what is inside. @throws Error */
  expectNoCopiedTrafficClass(): void {
    const marked = this.traffic.of('ours').filter(({ trafficClass }) => trafficClass !== 0);
    if (marked.length > 0) throw new Error(`${marked.length} packets of ours have a traffic class`);
  }

  /** Closes all there is, also if some of it fails to. @throws the first error */
  async close(): Promise<void> {
    for (const { socket } of this.#ends.values()) socket.close();
    const failures: unknown[] = [];
    for (const each of [this.ours, this.daemon, this.traffic, this.world]) {
      try {
        await each.close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
