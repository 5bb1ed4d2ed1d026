import type { NetworkNamespace } from '../host/namespace.ts';
import type { CapturedFrame, Native } from '../native/native.ts';

/** A capture of one interface that keeps every frame. */
export interface LinkCapture {
  readonly frames: readonly CapturedFrame[];
  close(): void;
}

/** Captures all that passes an interface in a namespace, in both directions. @throws NativeError */
export function captureLink(native: Native, namespace: NetworkNamespace, interfaceName: string): LinkCapture {
  const socket = native.withinNetworkNamespace(namespace.file, () => native.openCapture(interfaceName));
  const frames: CapturedFrame[] = [];
  socket.start((frame) => frames.push(frame));
  return { frames, close: () => socket.close() };
}
