import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { NetworkNamespace } from '../host/namespace.ts';
import type { RelayState } from '../relay/relay.ts';

/** What `ike-telescope relay` says over its IPC channel. */
type RelayMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'overlays'; readonly up: number; readonly total: number }
  | { readonly type: 'state'; readonly state: RelayState };

/** A relay that did not start, or ended by itself: what it wrote. */
export class RelayProcessError extends Error {
  override readonly name = 'RelayProcessError';
}

/** Milliseconds that an answer may take. */
const PATIENCE = 20_000;
/** Of a relay's standard error, for error messages. */
const KEPT_CHARACTERS = 4_000;

/** A running `ike-telescope relay`. It is killed with its namespace. */
export class RelayProcess {
  readonly #name: string;
  readonly #child: ChildProcess;
  #ready = false;
  #overlaysUp = 0;
  #states: RelayState[] = [];
  #stderr = '';

  /** @param command - the whole command line */
  constructor(name: string, namespace: NetworkNamespace, command: readonly string[]) {
    this.#name = name;
    this.#child = namespace.spawn(command, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child.on('message', (message: RelayMessage) => {
      if (message.type === 'ready') this.#ready = true;
      if (message.type === 'overlays') this.#overlaysUp = message.up;
      if (message.type === 'state') this.#states.push(message.state);
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_CHARACTERS);
    });
  }

  /**
   * Resolves when it is running and `count` of its overlay tunnels are up.
   * @param patience - milliseconds
   * @throws RelayProcessError
   */
  async overlaysUp(count: number, patience = PATIENCE): Promise<void> {
    await this.#until(`${count} overlay tunnels`, () => this.#ready && this.#overlaysUp >= count, patience);
  }

  /** What the relay knows now. @throws RelayProcessError */
  async state(): Promise<RelayState> {
    this.#states = [];
    this.#child.send({ type: 'state' });
    await this.#until('its state', () => this.#states.length > 0, PATIENCE);
    return this.#states[0];
  }

  /** Has it close in an orderly way, and waits until it has ended. */
  async close(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGTERM');
    await ended;
  }

  /** Waits for messages until `done`. */
  #until(what: string, done: () => boolean, patience: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = () => {
        clearTimeout(timer);
        this.#child.off('message', look).off('close', ended).off('error', fail);
      };
      const look = () => {
        if (!done()) return;
        finish();
        resolve();
      };
      const fail = (why: unknown) => {
        finish();
        const said = this.#stderr.trim();
        reject(new RelayProcessError(`relay ${this.#name}: ${why} while waiting for ${what}: ${said}`));
      };
      const ended = (status: number | null, signal: string | null) =>
        fail(`it ended with ${signal ?? `status ${status}`}`);
      const timer = setTimeout(() => fail(`nothing for ${patience / 1000} s`), patience);
      this.#child.on('message', look).on('close', ended).on('error', fail);
      if (this.#child.exitCode === null && this.#child.signalCode === null) look();
      else ended(this.#child.exitCode, this.#child.signalCode);
    });
  }
}
