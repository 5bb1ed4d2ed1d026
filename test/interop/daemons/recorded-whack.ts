import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';

/**
 * What `whack` sends to a daemon. It has no other protocol than a structure that differs from version to version, and to start a program
 * takes long in a guest: what it sends once can be sent again.
 * @param run - runs it, for a daemon that listens on the socket `path`
 */
export async function recordWhack(path: string, run: () => Promise<unknown>): Promise<Uint8Array> {
  const server = createServer();
  server.listen(path);
  await once(server, 'listening');
  const connection = once(server, 'connection');
  const ended = run();
  const [socket] = await connection;
  const [message] = await once(socket, 'data');
  socket.end();
  await ended;
  server.close();
  await rm(path, { force: true });
  return message;
}

/** Sends it to the daemon that listens on the socket `path`, and resolves to the answer. @param patience - milliseconds */
export async function replayWhack(path: string, message: Uint8Array, patience: number): Promise<string> {
  const socket = connect(path);
  socket.setTimeout(patience, () => socket.destroy(new Error('libreswan does not answer')));
  let answer = '';
  socket.setEncoding('utf8').on('data', (text) => {
    answer += text;
  });
  socket.end(message);
  await once(socket, 'close');
  return answer;
}
