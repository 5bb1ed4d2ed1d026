import createDebug from 'debug';
import { zero } from '../crypto/transforms.ts';
import type { IkeError } from '../ike/errors.ts';
import type { IkeLineage } from '../ike/lineage.ts';
import type { IkeEvent, Output } from '../ike/output.ts';
import type { Clock } from '../link/clock.ts';
import type { Attachment, Origin } from '../link/link.ts';
import type { Backend, SaEvent, SaOperation, SaResult } from '../link/sa-store.ts';
import type { NatKeepalives } from './nat-keepalives.ts';

const log = createDebug('ike-telescope:session');

/** What a session needs of its surroundings. */
export interface SessionHost {
  readonly clock: Clock;
  readonly attachment: Attachment;
  readonly backend: Backend;
  readonly keepalives: NatKeepalives;
}

/**
 * Drives one IKE SA: calls a method of the core, drains its outputs in order, arms its timer ("call one method, drain
 * poll(), arm nextTimeout"). Backend operations run one after another, each result fed back before the next.
 */
export class Session {
  readonly ike: IkeLineage;
  readonly #host: SessionHost;
  readonly #onEvent: (event: IkeEvent) => void;
  #operations: Promise<void> = Promise.resolve();
  #cancelTimer: (() => void) | undefined;
  #exchangesSeen = 0;
  #isGivenUp = false;
  #waiting: { readonly exchanges: number; readonly done: (answered: boolean) => void }[] = [];

  constructor(ike: IkeLineage, host: SessionHost, onEvent: (event: IkeEvent) => void) {
    this.ike = ike;
    this.#host = host;
    this.#onEvent = onEvent;
  }

  /** Drains what the core produced when it was made. */
  start(): void {
    this.#drain();
  }

  receive(message: Uint8Array, origin: Origin): void {
    this.#guarded((ike, now) => ike.handleDatagram(message, origin, now));
  }

  /** Runs a method of the core and what follows from it. */
  perform(action: (ike: IkeLineage, now: number) => void): void {
    action(this.ike, this.#host.clock.now());
    this.#drain();
  }

  /** Tells the core what became of one of its SAs. Not from within: the event may come of what another core sends. */
  handleSaEvent(event: SaEvent): void {
    queueMicrotask(() => this.#guarded((ike, now) => ike.handleSaEvent(event, now)));
  }

  /** Runs a liveness check. True once the peer has answered it, false if the IKE SA died of it. */
  checkLiveness(): Promise<boolean> {
    if (this.ike.closed) return Promise.resolve(false);
    return new Promise((done) => {
      this.#waiting.push({ exchanges: this.ike.exchanges + 1, done });
      this.perform((ike, now) => ike.checkLiveness(now));
    });
  }

  /** Resolves when every backend operation has been applied, those included that the results of others ask for. */
  async settled(): Promise<void> {
    for (let seen: Promise<void> | undefined; seen !== this.#operations; ) {
      seen = this.#operations;
      await seen;
    }
  }

  #drain(): void {
    for (let output = this.ike.poll(); output !== undefined; output = this.ike.poll()) this.#carryOut(output);
    this.#armTimer();
    this.#host.keepalives.keep(this, this.#keptPeer);
    if (this.ike.exchanges !== this.#exchangesSeen || this.ike.closed) {
      this.#exchangesSeen = this.ike.exchanges;
      const due = this.#waiting.filter(({ exchanges }) => this.ike.closed || exchanges <= this.ike.exchanges);
      this.#waiting = this.#waiting.filter((waiter) => !due.includes(waiter));
      for (const { exchanges, done } of due) done(exchanges <= this.ike.exchanges);
    }
  }

  /** The peer, if a NAT in front of us has to go on knowing it. */
  get #keptPeer(): Origin | undefined {
    const { established, behindNat, origin } = this.ike;
    return established && behindNat && origin.encapsulated ? origin : undefined;
  }

  #carryOut(output: Output): void {
    switch (output.kind) {
      case 'transmit':
        if (this.#isGivenUp) return;
        this.#host.attachment.sendIke(output.message, output.to);
        this.#host.keepalives.sent(output.to);
        return;
      case 'event':
        this.#onEvent(output.event);
        // The request that was to be answered may have gone with it.
        if (output.event.type === 'retired' && this.#waiting.length > 0)
          this.ike.checkLiveness(this.#host.clock.now());
        return;
      case 'operation':
        this.#operations = this.#operations
          .then(() => this.#apply(output.id, output.operation))
          .catch((error) => this.#giveUp(error));
        return;
    }
  }

  async #apply(id: number, operation: SaOperation): Promise<void> {
    let result: SaResult;
    try {
      [result] = await this.#host.backend.apply([operation]);
    } catch (error) {
      result = { ok: false, error: error instanceof Error ? error.message : String(error) };
    }
    if (operation.kind === 'inbound' || operation.kind === 'outbound') {
      zero(operation.sa.keys.encryption, operation.sa.keys.integrity);
    }
    this.ike.handleCompleted(id, result, this.#host.clock.now());
    this.#drain();
  }

  /** The same when nobody waits for it who could take an error. */
  #guarded(action: (ike: IkeLineage, now: number) => void): void {
    try {
      this.perform(action);
    } catch (error) {
      this.#giveUp(error);
    }
  }

  /** A handler of the endpoint's owner threw: that costs this IKE SA, and no other. */
  #giveUp(error: unknown): void {
    log('an IKE SA is given up after a defect: %o', error);
    this.#isGivenUp = true;
    this.ike.abort(this.#host.clock.now());
    try {
      this.#drain();
    } catch (further) {
      log('its end was not taken well either: %o', further);
    }
  }

  #armTimer(): void {
    this.#cancelTimer?.();
    const at = this.ike.nextTimeout;
    this.#cancelTimer =
      at === undefined
        ? undefined
        : this.#host.clock.at(at, () => this.#guarded((ike, now) => ike.handleTimeout(now)));
  }
}

/** How an IKE SA ended: why, or undefined after an orderly delete. */
export type Ending = IkeError | undefined;
