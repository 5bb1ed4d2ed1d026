import type { Koffi } from './libc.ts';

/** Packets handled per readiness event, before timers and other descriptors get their turn. */
export const BATCH = 64;

/** Milliseconds until a descriptor that reported an error (an interface that is down) is watched again. */
const RETRY_DELAY = 100;

/** Poll handles in use: one that nothing references would be closed by the garbage collector. */
const watched = new Set<InstanceType<Koffi['node']['PollHandle']>>();

/**
 * Calls `drain` when `fd` is readable, until the result is called; the fd is closed by the caller after that. The event
 * loop (this thread's) stays alive meanwhile.
 *
 * libuv calls back on a C stack, where an exception would be lost and promise reactions would not run. So the callback
 * only schedules an immediate, which runs in the same turn of the loop as an ordinary JavaScript task.
 */
export function watch(koffi: Koffi, fd: number, drain: () => void): () => void {
  let pending: NodeJS.Immediate | undefined;
  let retry: NodeJS.Timeout | undefined;
  const run = () => {
    pending = undefined;
    drain();
  };
  // libuv stops a poll handle whose fd has an error pending; reading clears the error.
  const ready = (status: unknown) => {
    pending ??= setImmediate(run);
    if (status !== 0) retry = setTimeout(() => handle.start({ readable: true }, ready), RETRY_DELAY);
  };
  const handle = koffi.node.poll(fd, { readable: true }, ready);
  watched.add(handle);
  return () => {
    clearImmediate(pending);
    clearTimeout(retry);
    handle.close();
    watched.delete(handle);
  };
}
