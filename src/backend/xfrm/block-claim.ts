import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import type { Native } from '../../native/native.ts';
import { type Enter, XfrmError } from './channel.ts';

/** How many instances can be in one network namespace. */
export const BLOCKS = 64;

/**
 * Of UDP, assigned to nothing. A socket is what an instance holds its block by, since it is of the network namespace, whatever files its
 * processes see, and vanishes with its process; with a port below 1024, nobody else than root can hold one to keep us out.
 */
const PORT = 4;

/** A block of numbers that nobody else in the network namespace has, until it is released. */
export interface Claim {
  readonly block: number;
  release(): void;
}

/** @returns undefined if another instance has it @throws XfrmError */
export async function claimBlock(
  block: number,
  native: Native | undefined,
  enter: Enter,
): Promise<Claim | undefined> {
  const address = `127.167.0.${block}`;
  try {
    if (native === undefined) return { block, release: await holdPort(address) };
    // Also where the loopback interface is down.
    const fd = enter(() => native.openUdp(address, PORT, { foreign: true }));
    return { block, release: () => closeSync(fd) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') return undefined;
    throw new XfrmError(`a share of the kernel's IPsec cannot be claimed: ${message}`, { cause: error });
  }
}

/** Without FFI; the network namespace is this process's. */
async function holdPort(address: string): Promise<() => void> {
  const socket = createSocket('udp4').unref();
  socket.bind({ address, port: PORT, exclusive: true });
  await once(socket, 'listening');
  return () => void socket.close();
}
