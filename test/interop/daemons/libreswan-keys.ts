import { mkdtemp, writeFile } from 'node:fs/promises';
import type { Connection } from './daemon.ts';

/** Runs a program in the root folder, and returns what it said. @throws DaemonError */
export type RunInRoot = (command: readonly string[]) => Promise<string>;

/** The own key with its certificate and the authorities that a daemon knows, in PEM. */
interface Keys {
  readonly own: { readonly key: string; readonly certificate: string | undefined } | undefined;
  readonly authorities: readonly string[];
}

/**
 * Databases of keys, as NSS has them. Each takes five programs to make, and is the same for as long as the keys are: made once
 * for this process, in folders of the root folder.
 */
export class KeyDatabases {
  readonly #root: string;
  readonly #run: RunInRoot;
  readonly #made = new Map<string, Promise<string>>();

  constructor(root: string, run: RunInRoot) {
    this.#root = root;
    this.#run = run;
  }

  /** The folder with the database that a connection needs, as the host sees it; to be copied. @throws DaemonError */
  of(connection: Connection): Promise<string> {
    const keys = keysOf(connection);
    const id = JSON.stringify(keys);
    const made = this.#made.get(id) ?? this.#make(keys);
    this.#made.set(id, made);
    return made;
  }

  async #make({ own, authorities }: Keys): Promise<string> {
    const folder = await mkdtemp(`${this.#root}/run/keys-`);
    const inside = folder.slice(this.#root.length);
    const database = ['-d', `sql:${inside}`];
    await this.#run(['certutil', '-N', ...database, '--empty-password']);
    if (own !== undefined) {
      const [key, certificate, both] = ['own.key', 'own.crt', 'own.p12'].map((name) => `${inside}/${name}`);
      await writeFile(this.#root + key, own.key);
      if (own.certificate !== undefined) await writeFile(this.#root + certificate, own.certificate);
      else await this.#run(['openssl', 'req', '-x509', '-key', key, '-subj', '/CN=own', '-out', certificate]);
      const files = ['-inkey', key, '-in', certificate, '-out', both];
      const password = ['-passout', 'pass:own'];
      await this.#run(['openssl', 'pkcs12', '-export', '-name', 'own', ...files, ...password]);
      await this.#run(['pk12util', '-i', both, ...database, '-W', 'own', '-K', '']);
      // Keys get there in certificates only, but what is left without is a raw key.
      if (own.certificate === undefined) await this.#run(['certutil', '-D', ...database, '-n', 'own']);
    }
    for (const [index, certificate] of authorities.entries()) {
      await writeFile(`${folder}/${index}.crt`, certificate);
      const trusted = ['-n', `authority ${index}`, '-t', 'CT,,'];
      await this.#run(['certutil', '-A', ...database, ...trusted, '-a', '-i', `${inside}/${index}.crt`]);
    }
    return folder;
  }
}

function keysOf({ local, remote }: Connection): Keys {
  const authorities = [local, remote].flatMap((proof) =>
    proof.kind === 'certificate' ? proof.key.certificates!.slice(1) : [],
  );
  return {
    own:
      local.kind === 'raw' || local.kind === 'certificate'
        ? { key: local.key.privateKey, certificate: local.key.certificates?.[0] }
        : undefined,
    authorities: [...new Set(authorities)],
  };
}
