import { randomInt } from 'node:crypto';
import createDebug from 'debug';
import type { Origin } from '../../link/link.ts';
import type {
  Backend,
  BackendFactory,
  SaEvent,
  SaOperation,
  SaParameters,
  SaResult,
  Tunnel,
  TunnelPolicy,
} from '../../link/sa-store.ts';
import { hex } from '../../wire/bytes.ts';
import type { TrafficSelector } from '../../wire/traffic-selector.ts';
import { Usage } from '../usage.ts';
import type { XfrmFailure } from './channel.ts';
import {
  byPath,
  continuation,
  forgetKeys,
  isSamePlace,
  type KernelSa,
  NOTHING,
  stateOf,
  sum,
} from './kernel-sa.ts';
import type { InstalledState, XfrmEvent, XfrmRequest, XfrmScope } from './model.ts';
import { TunnelPolicies } from './policies.ts';
import { XfrmTunnel } from './tunnel.ts';
import type { Xfrm } from './xfrm.ts';

const log = createDebug('ike-telescope:xfrm');

/** Milliseconds between two looks at what SAs have carried; and in looks, when there are so many SAs that they take long. */
const LOOK_INTERVAL = 2_000;
const LOOK_PAUSE = 5;
/** SPIs 0 to 255 are reserved (RFC 4303 2.1). */
const FIRST_SPI = 256;
const END_OF_SPIS = 2 ** 32;

export interface XfrmBackendOptions {
  /** The kernel's IPsec in the network namespace that the peers are reached in; it outlives the backend. */
  readonly xfrm: Xfrm;
  /**
   * How packets meet a tunnel: through the device that gives them this mark or that has this number. Default: its policies are for
   * every packet of the namespace.
   */
  attach?(tunnel: TunnelPolicy, path: Origin): XfrmScope;
}

/** ESP in the kernel. It calls back neither with packets nor about unknown SPIs. */
export function xfrmBackend(options: XfrmBackendOptions): BackendFactory {
  return (_sendEsp, _onUnknownSpi, onSaEvent) => new XfrmBackend(options, onSaEvent);
}

class XfrmBackend implements Backend {
  readonly name = 'xfrm';
  readonly #xfrm: Xfrm;
  readonly #attach: (tunnel: TunnelPolicy, path: Origin) => XfrmScope;
  readonly #onSaEvent: (event: SaEvent) => void;
  readonly #tunnels = new Map<string, XfrmTunnel>();
  readonly #byReqid = new Map<number, TunnelPolicies>();
  readonly #byKey = new Map<string, TunnelPolicies>();
  readonly #byInboundSpi = new Map<number, XfrmTunnel>();
  readonly #reserved = new Set<number>();
  readonly #unsubscribe: () => void;
  #timer: NodeJS.Timeout | undefined;
  /** Operations run one after the other, and so do looks at the kernel. */
  #last: Promise<unknown> = Promise.resolve();

  constructor({ xfrm, attach = () => ({}) }: XfrmBackendOptions, onSaEvent: (event: SaEvent) => void) {
    this.#xfrm = xfrm;
    this.#attach = attach;
    this.#onSaEvent = onSaEvent;
    this.#unsubscribe = xfrm.channel.onEvent((event) => this.#handleEvent(event));
  }

  apply(operations: readonly SaOperation[]): Promise<readonly SaResult[]> {
    return this.#inTurn(async () => {
      const results: SaResult[] = [];
      for (const operation of operations) results.push(await this.#applyOne(operation));
      return results;
    });
  }

  receive(): void {}

  tunnel(policyId: string): Tunnel {
    const tunnel = this.#tunnels.get(policyId);
    if (tunnel === undefined) throw new RangeError(`no tunnel under policy ${policyId}`);
    return tunnel;
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    await this.#inTurn(async () => {
      for (const tunnel of [...this.#tunnels.values()]) await this.#removeTunnel(tunnel);
    });
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(action);
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #applyOne(operation: SaOperation): Promise<SaResult> {
    switch (operation.kind) {
      case 'reserve':
        return { ok: true, spi: this.#reserve() };
      case 'inbound':
      case 'outbound':
        return this.#install(operation.kind, operation.sa);
      case 'remove':
        return this.#remove(operation.direction, operation.spi, operation.tunnelId);
      case 'move':
        return this.#move(operation.spi, operation.tunnelId, operation.path);
    }
  }

  #reserve(): number {
    for (;;) {
      const spi = randomInt(FIRST_SPI, END_OF_SPIS);
      if (this.#reserved.has(spi) || this.#byInboundSpi.has(spi)) continue;
      this.#reserved.add(spi);
      return spi;
    }
  }

  async #install(direction: 'inbound' | 'outbound', sa: SaParameters): Promise<SaResult> {
    const existing = this.#tunnels.get(sa.tunnel.id);
    const isTaken =
      direction === 'inbound'
        ? this.#byInboundSpi.has(sa.spi)
        : existing?.outbound.some(({ state }) => state.spi === sa.spi);
    if (isTaken) return { ok: false, error: `the ${direction} SPI is in use` };
    let tunnel = existing;
    try {
      tunnel ??= this.#newTunnel(sa);
      const { policies } = tunnel;
      const installed: KernelSa = {
        direction,
        path: sa.path,
        state: stateOf(direction, sa, policies),
        usage: new Usage(direction, sa, this.#onSaEvent),
        before: NOTHING,
      };
      const failure = await this.#applyOrUndo(installRequests(policies, installed));
      if (failure === undefined) {
        this.#adopt(tunnel, installed);
        return { ok: true, spi: sa.spi };
      }
      forgetKeys(installed.state);
      this.#releaseUnused(policies);
      return { ok: false, error: failure.error };
    } catch (error) {
      if (tunnel !== undefined) this.#releaseUnused(tunnel.policies);
      return { ok: false, error: textOf(error) };
    }
  }

  /** @throws RangeError, XfrmError */
  #newTunnel({ tunnel: policy, path }: SaParameters): XfrmTunnel {
    const tunnel: XfrmTunnel = new XfrmTunnel(policy, this.#policiesFor(policy, path), () =>
      this.#inTurn(() => this.#removeTunnel(tunnel)),
    );
    return tunnel;
  }

  /** Those of another tunnel with the same peer, or new ones. @throws RangeError, XfrmError */
  #policiesFor(policy: TunnelPolicy, path: Origin): TunnelPolicies {
    const scope = this.#attach(policy, path);
    const key = keyOf(policy, path, scope);
    const existing = this.#byKey.get(key);
    if (existing !== undefined) return existing;
    const reqid = this.#xfrm.allocate();
    try {
      return new TunnelPolicies(policy, { reqid, scope, key });
    } catch (error) {
      this.#xfrm.release(reqid);
      throw error;
    }
  }

  #releaseUnused({ tunnels, reqid }: TunnelPolicies): void {
    if (tunnels.size === 0) this.#xfrm.release(reqid);
  }

  #adopt(tunnel: XfrmTunnel, sa: KernelSa): void {
    this.#tunnels.set(tunnel.policy.id, tunnel);
    const { policies } = tunnel;
    this.#byReqid.set(policies.reqid, policies);
    this.#byKey.set(policies.key, policies);
    policies.tunnels.add(tunnel);
    if (sa.direction === 'outbound') {
      tunnel.outbound.unshift(sa);
      policies.senders.unshift(sa);
    } else {
      const { spi } = sa.state;
      tunnel.inbound.set(spi, sa);
      this.#byInboundSpi.set(spi, tunnel);
      this.#reserved.delete(spi);
    }
    this.#lookLater(0);
  }

  /** A tunnel goes with its last SA. */
  async #remove(
    direction: 'inbound' | 'outbound',
    spi: number,
    tunnelId: string | undefined,
  ): Promise<SaResult> {
    if (direction === 'inbound') this.#reserved.delete(spi);
    const tunnel =
      direction === 'inbound'
        ? this.#byInboundSpi.get(spi)
        : tunnelId === undefined
          ? undefined
          : this.#tunnels.get(tunnelId);
    const sa =
      direction === 'inbound'
        ? tunnel?.inbound.get(spi)
        : tunnel?.outbound.find(({ state }) => state.spi === spi);
    if (tunnel === undefined || sa === undefined) return { ok: true, spi };
    const isLast = tunnel.sas.length === 1;
    const failure = isLast ? await this.#removeTunnel(tunnel) : await this.#removeSa(tunnel, sa);
    return failure === undefined ? { ok: true, spi } : { ok: false, error: failure.error };
  }

  async #removeSa(tunnel: XfrmTunnel, sa: KernelSa): Promise<XfrmFailure | undefined> {
    const { policies, outbound } = tunnel;
    const [newest, next] = policies.senders;
    const failure = await this.#xfrm.channel.apply([
      ...(sa === newest ? policies.sendOn(next) : []),
      { kind: 'delete-state', id: sa.state },
    ]);
    if (failure !== undefined) return failure;
    forgetKeys(sa.state);
    if (sa.direction === 'outbound') {
      outbound.splice(outbound.indexOf(sa), 1);
      policies.senders.splice(policies.senders.indexOf(sa), 1);
    } else {
      tunnel.inbound.delete(sa.state.spi);
      this.#byInboundSpi.delete(sa.state.spi);
    }
    return undefined;
  }

  async #removeTunnel(tunnel: XfrmTunnel): Promise<XfrmFailure | undefined> {
    const { policies } = tunnel;
    if (!policies.tunnels.has(tunnel)) return undefined;
    const failure = await this.#xfrm.channel.apply(policies.removal(tunnel));
    if (failure !== undefined) {
      log('a tunnel is not removed: %s', failure.error);
      return failure;
    }
    for (const { state } of tunnel.sas) forgetKeys(state);
    this.#tunnels.delete(tunnel.policy.id);
    for (const spi of tunnel.inbound.keys()) this.#byInboundSpi.delete(spi);
    for (const sa of tunnel.outbound) policies.senders.splice(policies.senders.indexOf(sa), 1);
    policies.tunnels.delete(tunnel);
    if (policies.tunnels.size > 0) return undefined;
    this.#byReqid.delete(policies.reqid);
    this.#byKey.delete(policies.key);
    this.#xfrm.release(policies.reqid);
    return undefined;
  }

  /** While they have no SA, packets are refused, not sent in clear; afterwards they leave again, also if the move has failed. */
  async #move(spi: number, tunnelId: string, path: Origin): Promise<SaResult> {
    const tunnel = this.#tunnels.get(tunnelId);
    const sa = tunnel?.outbound.find(({ state }) => state.spi === spi);
    if (tunnel === undefined || sa === undefined) return { ok: true, spi };
    const { policies } = tunnel;
    const isUsed = sa === policies.senders[0];
    const sendOn = async (sender: KernelSa | undefined) =>
      isUsed ? this.#xfrm.channel.apply(policies.sendOn(sender)) : undefined;
    let failure: Pick<XfrmFailure, 'error'> | undefined = await sendOn(undefined);
    failure ??= await this.#relocate(tunnel, [sa, ...tunnel.inbound.values()], path);
    const stuck = await sendOn(policies.senders[0]);
    failure ??= stuck;
    if (failure === undefined) return { ok: true, spi };
    log('a tunnel is not moved%s: %s', stuck === undefined ? '' : ', and sends nothing', failure.error);
    return { ok: false, error: failure.error };
  }

  /** Has SAs go along another path, in the kernel and here: all or none. Those that have expired stay away. */
  async #relocate(
    tunnel: XfrmTunnel,
    sas: readonly KernelSa[],
    path: Origin,
  ): Promise<Pick<XfrmFailure, 'error'> | undefined> {
    const moves: { readonly sa: KernelSa; readonly kept: KernelSa; readonly moved: KernelSa }[] = [];
    const steps: Step[] = [];
    try {
      for (const sa of sas) {
        const now = isSamePlace(sa, path) ? undefined : await this.#xfrm.channel.state(sa.state);
        if (now === undefined) continue;
        const kept = { ...sa, before: sum(sa.before, now) };
        const moved = byPath(kept, path);
        moves.push({ sa, kept, moved });
        steps.push(
          {
            request: { kind: 'delete-state', id: sa.state },
            undo: { kind: 'add-state', state: continuation(kept, now.replay) },
          },
          {
            request: { kind: 'add-state', state: continuation(moved, now.replay) },
            undo: { kind: 'delete-state', id: moved.state },
          },
        );
      }
    } catch (error) {
      return { error: textOf(error) };
    }
    const failure = await this.#applyOrUndo(steps);
    for (const [index, { sa, kept, moved }] of moves.entries()) {
      if (failure === undefined) tunnel.replace(sa, moved);
      else if (2 * index < failure.index) tunnel.replace(sa, kept); // it was deleted, and added again
    }
    return failure;
  }

  /** Requests that are carried out all, or none of them. */
  async #applyOrUndo(steps: readonly Step[]): Promise<XfrmFailure | undefined> {
    const failure = await this.#xfrm.channel.apply(steps.map(({ request }) => request));
    if (failure === undefined) return undefined;
    const undo = steps.slice(0, failure.index).map((step) => step.undo);
    const again = await this.#xfrm.channel.apply(undo.reverse());
    if (again !== undefined) log('what was installed in part is not removed: %s', again.error);
    return failure;
  }

  #handleEvent(event: XfrmEvent): void {
    switch (event.kind) {
      case 'lost':
        this.#look();
        return;
      case 'expired': {
        if (!event.hard) {
          this.#lookAt(event.state);
          return;
        }
        const found = this.#find(event.state);
        found?.tunnel.observe(found.sa, event.state);
        found?.sa.usage.end();
        return;
      }
      case 'moved': {
        const found = this.#find({ ...event.id, reqid: event.reqid });
        if (found === undefined) return;
        const { tunnel, sa } = found;
        const path = { ...sa.path, address: event.address, port: event.port };
        this.#onSaEvent({ kind: 'moved', tunnelId: tunnel.policy.id, path });
        return;
      }
    }
  }

  /** Looks at one SA: what an event says of it may be from where it was before it moved. */
  #lookAt(id: StateOfOurs): void {
    this.#inTurn(async () => {
      const found = this.#find(id);
      const state = found && (await this.#xfrm.channel.state(found.sa.state));
      if (state !== undefined) found?.tunnel.observe(found.sa, state);
    }).catch((error) => log('an SA cannot be looked at: %s', error));
  }

  /** Looks at every SA: what it has carried, and whether it is there at all. */
  #look(): void {
    clearTimeout(this.#timer);
    this.#inTurn(async () => {
      this.#timer = undefined;
      if (this.#tunnels.size === 0) return;
      const started = performance.now();
      const there = new Set<KernelSa>();
      for (const state of await this.#xfrm.channel.states()) this.#observe(state, there);
      for (const tunnel of this.#tunnels.values())
        for (const sa of tunnel.sas) if (!there.has(sa)) sa.usage.end();
      this.#lookLater(LOOK_PAUSE * (performance.now() - started));
    }).catch((error) => {
      log('SAs cannot be looked at: %s', error);
      this.#lookLater(0);
    });
  }

  #lookLater(pause: number): void {
    this.#timer ??= setTimeout(() => this.#look(), Math.max(LOOK_INTERVAL, pause)).unref();
  }

  #observe(state: InstalledState, there: Set<KernelSa>): void {
    const found = this.#find(state);
    if (found === undefined) return;
    there.add(found.sa);
    found.tunnel.observe(found.sa, state);
  }

  #find(id: StateOfOurs): { readonly tunnel: XfrmTunnel; readonly sa: KernelSa } | undefined {
    for (const tunnel of this.#byReqid.get(id.reqid)?.tunnels ?? []) {
      const sa = tunnel.find(id);
      if (sa !== undefined) return { tunnel, sa };
    }
    return undefined;
  }
}

/** Tells tunnels apart whose packets, or whose peers, the kernel tells apart. */
function keyOf({ local, remote }: TunnelPolicy, { linkId, address }: Origin, scope: XfrmScope): string {
  const textOf = (selectors: readonly TrafficSelector[]) =>
    selectors
      .map(({ startAddress, endAddress, ...ports }) =>
        JSON.stringify([hex(startAddress), hex(endAddress), ports]),
      )
      .sort();
  return JSON.stringify([linkId, address, scope.mark, scope.interfaceId, textOf(local), textOf(remote)]);
}

/** What tells a state of ours from others. */
type StateOfOurs = Pick<InstalledState, 'reqid' | 'destination' | 'spi'>;

interface Step {
  readonly request: XfrmRequest;
  readonly undo: XfrmRequest;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function installRequests(policies: TunnelPolicies, sa: KernelSa): readonly Step[] {
  const { state } = sa;
  const steps: Step[] = [
    { request: { kind: 'add-state', state }, undo: { kind: 'delete-state', id: state } },
  ];
  const sender = sa.direction === 'outbound' ? sa : undefined;
  if (policies.tunnels.size === 0) {
    for (const policy of [...policies.inbound(), ...policies.outbound(sender)])
      steps.push({ request: { kind: 'add-policy', policy }, undo: { kind: 'delete-policy', id: policy } });
  } else if (sender !== undefined) {
    const before = policies.sendOn(policies.senders[0]);
    for (const [index, request] of policies.sendOn(sender).entries())
      steps.push({ request, undo: before[index] });
  }
  return steps;
}
