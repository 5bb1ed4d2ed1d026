import { createSocket, type Socket } from 'node:dgram';
import { type Address, familyOf } from '../wire/address.ts';
import { DISCARD_PORT } from './host-address.ts';

/** How often the host's routes are asked, in milliseconds. */
const INTERVAL = 1_000;

/**
 * Asks the host's routes again and again for our address towards `remote`, and tells each answer. Nothing is sent.
 * @param fd - a UDP socket in the host's network, if that is not this process's
 * @returns a function that ends it
 */
export function watchRoute(
  remote: Address,
  fd: number | undefined,
  onAddress: (address: Address) => void,
): () => void {
  const socket = createSocket(familyOf(remote) === 4 ? 'udp4' : 'udp6');
  // Without a route there is no address: what was told last stays.
  socket.on('error', () => {});
  let isReady = fd === undefined;
  if (fd !== undefined) {
    socket.bind({ fd }, () => {
      isReady = true;
    });
  }
  const timer = setInterval(() => {
    if (!isReady) return;
    isReady = false;
    askRoute(socket, remote, (address) => {
      isReady = true;
      if (address !== undefined) onAddress(address);
    });
  }, INTERVAL);
  return () => {
    clearInterval(timer);
    socket.removeAllListeners('connect');
    socket.close();
  };
}

/** @param onAnswer - undefined: there is no route */
function askRoute(socket: Socket, remote: Address, onAnswer: (address: Address | undefined) => void): void {
  socket.connect(DISCARD_PORT, remote, (error?: Error) => {
    if (error !== undefined) {
      onAnswer(undefined);
      return;
    }
    const { address } = socket.address();
    socket.disconnect();
    onAnswer(address);
  });
}
