import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { inNamespace, run, spawnFailure } from '../host/command.ts';
import { programEnvironment } from '../host/programs.ts';
import { ExitError } from './exit.ts';

/** A table of nftables rules that lasts as long as this process at most, however that ends. */
export interface NftTable {
  /** Resolves when it is gone, `close` or not: the kernel applies its rules no longer. */
  readonly gone: Promise<unknown>;
  close(): Promise<void>;
}

/** Milliseconds between looks at whether the table is there, and how often to look. */
const POLL_INTERVAL = 20;
const POLLS = 250;

/**
 * Adds a table that is owned by an `nft` process which ends when our end of its standard input does; the kernel removes a
 * table with its owner. `body` is one line of nft syntax, applied as a whole or not at all.
 * @throws ExitError with what nft said
 */
export async function openNftTable(name: string, body: string, netns: number | undefined): Promise<NftTable> {
  const [program, ...args] = inNamespace(['nft', '-i'], netns);
  const child = spawn(program, args, {
    env: programEnvironment(),
    stdio: ['pipe', 'ignore', 'pipe'],
    detached: true, // signals to our process group, such as Ctrl-C, are for us: we still need the table then
  });
  let complaint = '';
  const ended = once(child, 'close').catch((error) => {
    complaint += spawnFailure('nft', error);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  child.stdin.on('error', () => {}); // it has ended; `complaint` says why
  const close = async () => {
    child.stdin.end();
    await ended;
  };
  child.stdin.write(`table inet ${name} { flags owner; ${body}; }\n`);
  for (let poll = 0; poll < POLLS && complaint === '' && child.exitCode === null; poll++) {
    const there = await run(['nft', 'list', 'table', 'inet', name], { netns }).then(
      () => true,
      () => false,
    );
    if (there) return { gone: ended, close };
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL));
  }
  await close();
  throw new ExitError(
    `nft did not take the exit's table (${complaint.trim() || 'no answer'}); it needs CAP_NET_ADMIN, nftables and a ` +
      'kernel from 5.12 on: apt install nftables, or use the built-in exit, which needs neither',
  );
}
