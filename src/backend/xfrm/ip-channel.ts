import { type ChildProcess, spawn } from 'node:child_process';
import { CommandError } from '../../host/command.ts';
import { ip, ipBatch } from '../../host/ip.ts';
import { dyingWithUs } from '../../host/namespace.ts';
import { programEnvironment } from '../../host/programs.ts';
import {
  describeFailure,
  type Enter,
  isDone,
  type XfrmChannel,
  XfrmError,
  type XfrmFailure,
} from './channel.ts';
import { parseEvent, parsePolicies, parseStates, requestLine, stateQuery } from './ip-text.ts';
import type { InstalledState, XfrmEvent, XfrmPolicy, XfrmRequest, XfrmStateId } from './model.ts';

/** Errno names by what `ip` prints of them, or how that begins. */
const CODES: ReadonlyMap<string, string> = new Map([
  ['File exists', 'EEXIST'],
  ['No such process', 'ESRCH'],
  ['No such file or directory', 'ENOENT'],
  ['Operation not permitted', 'EPERM'],
  ['Function not ', 'ENOSYS'],
  ['Protocol not supported', 'EPROTONOSUPPORT'],
  ['Invalid argument', 'EINVAL'],
]);

/** A command that prints something, between requests: `ip` does not say at which line it has ended. */
const MARKER = 'xfrm state count';
const MARK = /SAD count/g;

interface Refusal {
  readonly index: number;
  readonly code: string;
  readonly text: string;
}

/**
 * A channel by the program `ip`, for a process that has no netlink. Keys are only ever in the program's standard input and output,
 * which nobody else sees.
 */
export function ipChannel(enter: Enter): XfrmChannel {
  return new IpChannel(enter);
}

class IpChannel implements XfrmChannel {
  readonly #enter: Enter;
  readonly #listeners = new Set<(event: XfrmEvent) => void>();
  #monitor: ChildProcess | undefined;

  constructor(enter: Enter) {
    this.#enter = enter;
  }

  async apply(requests: readonly XfrmRequest[]): Promise<XfrmFailure | undefined> {
    for (let first = 0; first < requests.length; ) {
      const refusal = await this.#batch(requests.slice(first));
      if (refusal === undefined) return undefined;
      const { code, text } = refusal;
      const index = first + refusal.index;
      if (!isDone(requests[index], code))
        return { index, code, error: describeFailure(requests[index], code, text) };
      first = index + 1;
    }
    return undefined;
  }

  async state(id: XfrmStateId): Promise<InstalledState | undefined> {
    try {
      const [state] = parseStates(await this.#print(stateQuery(id)));
      return state;
    } catch (error) {
      if (error instanceof XfrmError && codeIn(error.message) === 'ESRCH') return undefined;
      throw error;
    }
  }

  async states(): Promise<readonly InstalledState[]> {
    return parseStates(await this.#print(['-s', 'xfrm', 'state', 'list', 'nokeys']));
  }

  async policies(): Promise<readonly XfrmPolicy[]> {
    return parsePolicies(await this.#print(['xfrm', 'policy', 'list']));
  }

  onEvent(listener: (event: XfrmEvent) => void): () => void {
    this.#listeners.add(listener);
    this.#monitor ??= this.#startMonitor();
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#monitor?.kill();
  }

  /** It is no reason for this process to go on. */
  #startMonitor(): ChildProcess {
    const [program, ...args] = dyingWithUs(['ip', 'xfrm', 'monitor', 'nokeys', 'all']);
    const monitor = this.#enter(() =>
      spawn(program, args, { env: programEnvironment(), stdio: ['ignore', 'pipe', 'ignore'] }),
    );
    let text = '';
    monitor.on('error', () => {}); // there is no such program, which the first request says
    monitor.stdout.setEncoding('utf8').on('data', (more: string) => {
      // An event is whole when its last line is: each is written at once.
      const whole = (text + more).split(/(?<=\n)(?=\S)/);
      text = more.endsWith('\n') ? '' : (whole.pop() ?? '');
      for (const event of whole.map(parseEvent))
        if (event !== undefined) for (const listener of [...this.#listeners]) listener(event);
    });
    monitor.unref();
    (monitor.stdout as unknown as { unref(): void }).unref();
    return monitor;
  }

  /** The first request that was refused. */
  async #batch(requests: readonly XfrmRequest[]): Promise<Refusal | undefined> {
    const lines: string[] = [];
    try {
      for (const request of requests) lines.push(requestLine(request));
    } catch (error) {
      // Those before it are carried out all the same, as if the kernel had refused it.
      const earlier = lines.length === 0 ? undefined : await this.#run(lines);
      return earlier ?? { index: lines.length, code: 'EOPNOTSUPP', text: textOf(error) };
    }
    return this.#run(lines);
  }

  async #run(lines: readonly string[]): Promise<Refusal | undefined> {
    try {
      await this.#enter(() => ipBatch(lines.flatMap((line) => [line, MARKER])));
      return undefined;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      const index = error.stdout.match(MARK)?.length ?? 0;
      const said = /(?:RTNETLINK answers: |Error: )(.*)/.exec(error.message);
      const text = said?.[1] ?? error.message;
      return { index, code: codeIn(text) ?? 'EIO', text };
    }
  }

  /** @throws XfrmError */
  async #print(args: readonly string[]): Promise<string> {
    try {
      return (await this.#enter(() => ip(args))).stdout;
    } catch (error) {
      throw new XfrmError(`the kernel's IPsec cannot be looked at: ${textOf(error)}`, { cause: error });
    }
  }
}

function codeIn(text: string): string | undefined {
  for (const [words, code] of CODES) if (text.includes(words)) return code;
  return undefined;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
