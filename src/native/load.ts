import { createRequire } from 'node:module';
import { familyOf } from '../wire/address.ts';
import { openCapture } from './capture.ts';
import { type Koffi, Libc } from './libc.ts';
import type { Native } from './native.ts';
import { openConnectionNetlink, openXfrmNetlink } from './netlink.ts';
import { newNetworkNamespace, withinNetworkNamespace } from './network-namespace.ts';
import { NativeRawEsp } from './raw-esp.ts';
import { notifyService } from './service-notification.ts';
import { openPingSocket, openRawEspFd, openUdp, setConstantHeader, takeEspInUdp } from './sockets.ts';
import { openTun } from './tun.ts';

/** The native interface, or why there is none on this machine. */
export type LoadedNative = { readonly native: Native } | { readonly unavailable: string };

let loaded: LoadedNative | undefined;

/** Loads koffi, which is an optional dependency, at the first call. */
export function loadNative(): LoadedNative {
  loaded ??= load();
  return loaded;
}

function load(): LoadedNative {
  if (process.platform !== 'linux')
    return { unavailable: `native I/O needs Linux, this is ${process.platform}` };
  if (process.env.IKE_TELESCOPE_WITHOUT_FFI === '1') {
    return { unavailable: 'native I/O is switched off by IKE_TELESCOPE_WITHOUT_FFI' };
  }
  try {
    const koffi: Koffi = createRequire(import.meta.url)('koffi');
    return { native: nativeOf(new Libc(koffi)) };
  } catch (error) {
    const [reason] = String(error instanceof Error ? error.message : error).split('\n');
    return {
      unavailable: `the optional package koffi cannot be loaded (${reason}); install it: npm install koffi`,
    };
  }
}

function nativeOf(libc: Libc): Native {
  return {
    openTun: (name = '') => openTun(libc, name),
    openRawEsp: (local) => new NativeRawEsp(libc, openRawEspFd(libc, local), familyOf(local)),
    adoptRawEsp: (fd, family) => new NativeRawEsp(libc, fd, family),
    openUdp: (local, port, options) => openUdp(libc, local, port, options),
    setConstantHeader: (fd, family) => setConstantHeader(libc, fd, family),
    takeEspInUdp: (fd) => takeEspInUdp(libc, fd),
    openCapture: (interfaceName) => openCapture(libc, interfaceName),
    openPingSocket: (family) => openPingSocket(libc, family),
    openXfrmNetlink: (groups) => openXfrmNetlink(libc, groups),
    openConnectionNetlink: () => openConnectionNetlink(libc),
    notifyService: (path, state) => notifyService(libc, path, state),
    newNetworkNamespace: () => newNetworkNamespace(libc),
    withinNetworkNamespace: (file, action) => withinNetworkNamespace(libc, file, action),
  };
}
