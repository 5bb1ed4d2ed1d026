import { closeSync } from 'node:fs';
import type { Libc } from './libc.ts';
import * as linux from './linux.ts';
import { NativeError } from './native.ts';
import { openSocket } from './sockets.ts';

/** `Native.notifyService`. */
export function notifyService(libc: Libc, path: string, state: string): void {
  const what = `notification of the service manager at ${path}`;
  if (!/^[/@]/.test(path)) throw new NativeError('EINVAL', `${what}: neither a path nor an abstract name`);
  const text = new TextEncoder().encode(state);
  const fd = openSocket(libc, what, [linux.AF_UNIX, linux.SOCK_DGRAM, 0], {}, () => {});
  try {
    libc.data.set(text);
    if (libc.send(fd, text.length, libc.writeUnixName(path)) < 0) throw libc.failure(what);
  } finally {
    closeSync(fd);
  }
}
