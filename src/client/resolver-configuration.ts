import { existsSync, mkdirSync, readFileSync, readlinkSync, watch, writeFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import createDebug from 'debug';
import type { Address } from '../wire/address.ts';
import { mount } from './surroundings.ts';

const log = createDebug('ike-telescope:client');

const FILE = '/etc/resolv.conf';
/** Below the private /run of `prepareSurroundings`: in memory that only this mount namespace reaches. */
const OURS = '/run/ike-telescope/resolv.conf';
const PRIVATE = /^(\/var)?\/run\//;
/** As many as the kernel follows. */
const MOST_LINKS = 40;

/**
 * The DNS servers of this mount namespace. The host goes on replacing its file (a new lease, a resolver started again),
 * which takes what is mounted on it away; so it is watched, and ours is mounted again. Until then a lookup fails, for the
 * pump lets no query to the host's servers in.
 */
export class ResolverConfiguration {
  #text = '';
  #put: Promise<void> = Promise.resolve();

  /** From now on there are no DNS servers but those of `use`. Needs `prepareSurroundings`. @throws CommandError */
  static async open(): Promise<ResolverConfiguration> {
    const configuration = new ResolverConfiguration();
    await configuration.use([]);
    configuration.#watch();
    return configuration;
  }

  /** Makes these the only DNS servers; none leaves names unresolved. @throws CommandError */
  use(servers: readonly Address[]): Promise<void> {
    this.#text = servers.map((server) => `nameserver ${server}\n`).join('');
    write(OURS, this.#text);
    return this.#putInPlace();
  }

  /** Mounts follow one another. */
  #putInPlace(): Promise<void> {
    const put = this.#put.then(() => putInPlace(this.#text));
    this.#put = put.catch(() => {});
    return put;
  }

  #watch(): void {
    const failed = (error: unknown) => log('%s is not watched: %O', FILE, error);
    try {
      const watcher = watch(dirname(FILE), { persistent: false }, (_, name) => {
        if (name === basename(FILE)) this.#putInPlace().catch((error) => log('%O', error));
      });
      watcher.on('error', failed);
    } catch (error) {
      failed(error);
    }
  }
}

async function putInPlace(text: string): Promise<void> {
  const file = withoutLinks(FILE);
  if (PRIVATE.test(file)) {
    if (file !== OURS) write(file, text);
  } else if (existsSync(file) && readFileSync(file, 'utf8') !== text) {
    await mount(['--bind', OURS, file]);
  }
}

/** Where links lead, although there may be nothing. */
function withoutLinks(file: string): string {
  let at = file;
  for (let count = 0; count < MOST_LINKS; count++) {
    try {
      at = resolve(dirname(at), readlinkSync(at));
    } catch {
      return at; // no link
    }
  }
  return at;
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
  writeFileSync(file, text, { mode: 0o644 });
}
