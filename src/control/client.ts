import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { ControlError } from './server.ts';

/** What a server says of its own accord. */
export interface Notification {
  readonly method: string;
  readonly params: unknown;
}

interface Answer {
  readonly id?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

/** One connection to a control socket. */
export class ControlClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #onNotification: (notification: Notification) => void;
  /** Resolves when the server, or `close`, has ended the connection. */
  readonly closed: Promise<void>;
  #calls = 0;

  private constructor(socket: Socket, onNotification: (notification: Notification) => void) {
    this.#socket = socket;
    this.#onNotification = onNotification;
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        for (const answer of this.#waiting.values()) {
          answer({ error: { message: 'the connection was closed before the answer came' } });
        }
        this.#waiting.clear();
        resolve();
      });
    });
    socket.on('error', () => socket.destroy());
    createInterface({ input: socket }).on('line', (line) => this.#receive(line));
  }

  /** @throws ControlError if nobody answers on the socket, or not to us */
  static async connect(
    path: string,
    onNotification: (notification: Notification) => void = () => {},
  ): Promise<ControlClient> {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const remedies: Readonly<Record<string, string>> = {
        ENOENT: 'there is no such socket: is the relay running, and is this its control socket (--socket)?',
        ECONNREFUSED: 'nobody answers on it: is the relay running?',
        EACCES: 'only root and the user that the relay runs as may use it',
      };
      throw new ControlError(`${path}: ${remedies[code ?? ''] ?? message}`);
    }
    return new ControlClient(socket, onNotification);
  }

  /** The result. @throws ControlError with the server's refusal */
  async call(method: string, params: object = {}): Promise<unknown> {
    if (this.#socket.destroyed) throw new ControlError('the connection is closed');
    const id = ++this.#calls;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    });
    if (answer.error !== undefined) throw new ControlError(answer.error.message);
    return answer.result;
  }

  close(): Promise<void> {
    this.#socket.end();
    this.#socket.destroySoon();
    return this.closed;
  }

  #receive(line: string): void {
    const message = JSON.parse(line) as Answer & Partial<Notification>;
    if (message.method !== undefined) {
      this.#onNotification({ method: message.method, params: message.params });
      return;
    }
    // An error without an id is about the connection.
    const ids = message.id === null ? [...this.#waiting.keys()] : [message.id as number];
    for (const id of ids) {
      this.#waiting.get(id)?.(message);
      this.#waiting.delete(id);
    }
  }
}
