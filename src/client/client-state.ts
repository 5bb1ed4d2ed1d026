import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { z } from 'zod';
import { BuildTimeouts, buildTimesSchema } from '../select/build-timeouts.ts';
import type { Random } from '../select/draw.ts';
import { Guards, guardsSchema } from '../select/guards.ts';

/** What a client keeps between runs cannot be read or written. */
export class StateError extends Error {
  override readonly name = 'StateError';
}

/** Where it is kept unless somebody says otherwise (XDG Base Directory Specification). */
export function stateDirectory(): string {
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'ike-telescope');
}

/** What a client has learnt, in a directory for its owner alone. */
export class ClientState {
  readonly guards: Guards;
  readonly timeouts: BuildTimeouts;
  readonly #directory: string;

  /** @throws StateError naming the file and what to do */
  constructor(directory: string, random: Random) {
    this.#directory = directory;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new StateError(`no directory for what is learnt can be made: ${(error as Error).message}`);
    }
    this.guards = new Guards(this.#read('guards.json', guardsSchema), random);
    this.timeouts = new BuildTimeouts(this.#read('build-times.json', buildTimesSchema));
  }

  /** Files are replaced as a whole, so that a crash leaves the old ones or the new ones. @throws StateError */
  save(): void {
    this.#write('guards.json', this.guards.state);
    this.#write('build-times.json', this.timeouts.state);
  }

  #read<T>(name: string, schema: z.ZodType<T>): T | undefined {
    const file = join(this.#directory, name);
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new StateError(`${file}: cannot be read: ${(error as Error).message}`);
    }
    try {
      return schema.parse(JSON.parse(text));
    } catch {
      throw new StateError(
        `${file}: is not what ike-telescope writes; delete it to begin anew (with other first relays, if it is guards.json)`,
      );
    }
  }

  #write(name: string, value: unknown): void {
    const file = join(this.#directory, name);
    try {
      const replacement = `${file}.${process.pid}`;
      writeFileSync(replacement, `${JSON.stringify(value)}\n`, { mode: 0o600 });
      renameSync(replacement, file);
    } catch (error) {
      throw new StateError(`${file}: cannot be written: ${(error as Error).message}`);
    }
  }
}
