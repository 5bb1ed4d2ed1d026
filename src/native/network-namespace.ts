import { closeSync, openSync, writeSync } from 'node:fs';
import type { Libc } from './libc.ts';
import { NativeError } from './native.ts';

/** Of the calling thread. */
const OWN = '/proc/thread-self/ns/net';

/** `Native.withinNetworkNamespace`. */
export function withinNetworkNamespace<T>(libc: Libc, file: string, action: () => T): T {
  const target = openNamespace(file);
  const enter = () => libc.setNetworkNamespace(target);
  const remedies = {
    EPERM: 'it needs CAP_SYS_ADMIN in the user namespaces of both: run as root',
    EINVAL: 'that file is not a network namespace',
  };
  try {
    return elsewhere(libc, enter, { what: `entering the network namespace ${file}`, remedies }, action);
  } finally {
    closeSync(target);
  }
}

/** `Native.newNetworkNamespace`. */
export function newNetworkNamespace(libc: Libc): number {
  const leave = () => libc.unshareNetwork();
  const remedies = { EPERM: 'it needs CAP_SYS_ADMIN: run as root' };
  return elsewhere(libc, leave, { what: 'making a network namespace', remedies }, () => openNamespace(OWN));
}

/** Runs `action` in the network namespace that `enter` takes this thread to, and returns from there. */
function elsewhere<T>(
  libc: Libc,
  enter: () => number,
  { what, remedies }: { readonly what: string; readonly remedies: Readonly<Record<string, string>> },
  action: () => T,
): T {
  const origin = openNamespace(OWN);
  try {
    if (enter() < 0) throw libc.failure(what, remedies);
    try {
      return action();
    } finally {
      if (libc.setNetworkNamespace(origin) < 0) {
        // Whatever ran on would use the wrong network: an anonymity failure, so no handler gets a chance to.
        writeSync(2, `${libc.failure('returning to the network namespace').message}; ending the process\n`);
        process.abort();
      }
    }
  } finally {
    closeSync(origin);
  }
}

function openNamespace(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'EIO';
    throw new NativeError(code, `network namespace ${file}: ${code}; has its process ended?`);
  }
}
