import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { SLOWNESS } from '../../guest/slowness.ts';
import { DaemonError } from './daemon.ts';
import { type Answer, type Section, vici } from './vici.ts';

/** Milliseconds until it answers; a guest on a busy machine is slow. */
const PATIENCE = 60_000 * SLOWNESS;

/** A strongSwan daemon that was started, and the socket that it listens to. What it says is part of every error. */
export class CharonProcess {
  readonly #process: ChildProcess;
  readonly #socket: string;
  #log = '';

  private constructor(process: ChildProcess, socket: string) {
    this.#process = process;
    this.#socket = socket;
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#log += text;
      });
    }
  }

  /** Resolves when it answers. @throws DaemonError if it ends instead, or if that takes long */
  static async of(process: ChildProcess, socket: string): Promise<CharonProcess> {
    const charon = new CharonProcess(process, socket);
    for (const deadline = Date.now() + PATIENCE; ; await delay(20)) {
      try {
        await vici(socket, 'version');
        return charon;
      } catch (error) {
        if (!charon.#hasEnded && Date.now() <= deadline) continue;
        await charon.close();
        throw charon.failure(error as Error);
      }
    }
  }

  get log(): string {
    return this.#log;
  }

  /** What `vici` does. @throws DaemonError with the end of its log */
  async ask(request: string, message?: Section, event?: string): Promise<Answer> {
    try {
      return await vici(this.#socket, request, message, event);
    } catch (error) {
      await delay(100); // what it has logged may come after its answer
      throw this.failure(error as Error);
    }
  }

  /** With the end of its log. */
  failure({ message }: Error): DaemonError {
    return new DaemonError([message, ...this.#log.trimEnd().split('\n').slice(-25)].join('\n'));
  }

  async close(): Promise<void> {
    if (this.#hasEnded) return;
    const end = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await end;
  }

  get #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }
}
