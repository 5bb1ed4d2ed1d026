import { chmodSync, lstatSync, mkdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { answerTo, type Caller, ErrorCode, errorText, type Methods } from './methods.ts';

/** A control socket that cannot be opened or reached, or a call that was refused; the message says what to do. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
}

/** Of one request, in characters. */
export const MAX_LINE = 65_536;
export const MAX_CONNECTIONS = 32;
/** Of one connection's answers and notifications that its other end has not read, in octets. */
const MAX_UNREAD = 1 << 20;

/**
 * Answers JSON-RPC 2.0 on a UNIX socket of mode 0600, one JSON object per line in both directions; the requests of a connection
 * one after the other. What a caller can make it keep is bounded: a longer line, or a reader that does not read, costs the
 * caller its connection.
 */
export class ControlServer {
  readonly #server: Server;
  readonly #path: string;
  readonly #madeDirectory: boolean;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, path: string, madeDirectory: boolean) {
    this.#server = server;
    this.#path = path;
    this.#madeDirectory = madeDirectory;
  }

  /** Makes the folder, too, for its owner only, and takes the place of a socket that nobody answers on. @throws ControlError */
  static async open(path: string, methods: Methods): Promise<ControlServer> {
    try {
      const madeDirectory = mkdirSync(dirname(path), { recursive: true, mode: 0o700 }) !== undefined;
      if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) {
        throw new ControlError(`${path}: there is a file that is no socket: choose another path`);
      }
      if (await isAnswered(path)) {
        throw new ControlError(
          `${path}: another process answers on it: stop that one, or choose another path`,
        );
      }
      const server = createServer();
      await listen(server, path);
      const control = new ControlServer(server, path, madeDirectory);
      server.on('connection', (socket) => control.#accept(socket, methods));
      return control;
    } catch (error) {
      if (error instanceof ControlError) throw error;
      throw new ControlError(`the control socket cannot be made: ${(error as Error).message}`);
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve)); // which removes the socket's file
    if (!this.#madeDirectory) return;
    try {
      rmdirSync(dirname(this.#path));
    } catch {} // others use it
  }

  #accept(socket: Socket, methods: Methods): void {
    socket.on('error', () => socket.destroy());
    if (this.#sockets.size >= MAX_CONNECTIONS) {
      const message = `there are ${MAX_CONNECTIONS} connections, and there cannot be more`;
      socket.end(`${errorText(null, ErrorCode.REFUSED, message)}\n`);
      return;
    }
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    serve(socket, methods);
  }
}

function serve(socket: Socket, methods: Methods): void {
  const gone = new AbortController();
  socket.on('close', () => gone.abort());
  const caller: Caller = {
    gone: gone.signal,
    notify: (method, params) => {
      if (socket.writableLength > MAX_UNREAD) socket.destroy();
      else if (socket.writable) socket.write(`${JSON.stringify({ jsonrpc: '2.0', method, params })}\n`);
    },
  };
  let received = '';
  let isBusy = false;
  const work = async () => {
    if (isBusy) return;
    isBusy = true;
    socket.pause();
    for (let end = lineEnd(received); end !== undefined; end = lineEnd(received)) {
      if (end === 'too long') {
        const message = `a line has at most ${MAX_LINE} characters`;
        socket.end(`${errorText(null, ErrorCode.INVALID_REQUEST, message)}\n`);
        socket.destroySoon();
        return;
      }
      const line = received.slice(0, end);
      received = received.slice(end + 1);
      if (line.trim() === '') continue;
      const answer = await answerTo(line, methods, caller);
      if (gone.signal.aborted) return;
      if (answer !== undefined && !socket.write(`${answer}\n`)) await drained(socket);
    }
    isBusy = false;
    socket.resume();
  };
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    received += chunk;
    void work();
  });
}

/** Where the first line of a text ends; undefined if it does not. */
function lineEnd(text: string): number | 'too long' | undefined {
  const end = text.indexOf('\n');
  if (end > MAX_LINE || (end < 0 && text.length > MAX_LINE)) return 'too long';
  return end < 0 ? undefined : end;
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      socket.off('drain', finish).off('close', finish);
      resolve();
    };
    socket.on('drain', finish).on('close', finish);
  });
}

/** The socket's file is made by `listen` before it returns, so that no other of this process is with its mask. */
function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    const mask = process.umask(0o177);
    try {
      server.listen(path);
    } finally {
      process.umask(mask);
    }
    chmodSync(path, 0o600);
  });
}

/** Whether a process answers on a socket. Removes one that a dead process has left. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'ENOENT') resolve(false);
      else if (code !== 'ECONNREFUSED') reject(new Error(message));
      else {
        try {
          unlinkSync(path);
          resolve(false);
        } catch (error) {
          reject(error);
        }
      }
    });
  });
}
