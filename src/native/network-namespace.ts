import { closeSync, openSync, writeSync } from 'node:fs';
import type { Libc } from './libc.ts';
import { NativeError } from './native.ts';

/** `Native.withinNetworkNamespace`. */
export function withinNetworkNamespace<T>(libc: Libc, file: string, action: () => T): T {
  const origin = openNamespace('/proc/thread-self/ns/net');
  try {
    const target = openNamespace(file);
    const failure =
      libc.setNetworkNamespace(target) < 0
        ? libc.failure(`entering the network namespace ${file}`, {
            EPERM: 'it needs CAP_SYS_ADMIN in the user namespaces of both: run as root',
            EINVAL: 'that file is not a network namespace',
          })
        : undefined;
    closeSync(target);
    if (failure !== undefined) throw failure;
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
