import type { Native } from '../native/native.ts';
import { UsageError } from './failure.ts';

/**
 * Tells systemd how far a service of Type=notify is (sd_notify(3)); nothing if there is no such service.
 * @throws UsageError, NativeError
 */
export function tellService(native: Native | undefined, state: 'READY=1' | 'STOPPING=1'): void {
  const path = process.env.NOTIFY_SOCKET;
  if (!path) return;
  if (native === undefined) {
    throw new UsageError('Type=notify needs the package koffi: install it, or write Type=exec in the unit');
  }
  native.notifyService(path, state);
}
