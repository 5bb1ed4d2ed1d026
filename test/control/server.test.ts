import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ControlClient, type Notification } from '../../src/control/client.ts';
import { type Caller, MethodError, method } from '../../src/control/methods.ts';
import { ControlServer, MAX_CONNECTIONS, MAX_LINE } from '../../src/control/server.ts';
import { onlySocket, socketPath } from '../../src/control/socket-path.ts';
import { until } from '../support/waiting.ts';

let directory: string;
let path: string;
let server: ControlServer;
let callers: Caller[];
let running: number;

const METHODS = {
  add: method(z.strictObject({ a: z.number(), b: z.number().default(1) }), ({ a, b }) => a + b),
  slow: method(z.strictObject({}), async () => {
    expect(++running).toBe(1);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
  }),
  refuse: method(z.strictObject({}), () => {
    throw new MethodError('not today');
  }),
  fail: method(z.strictObject({}), () => {
    throw new Error('a secret');
  }),
  watch: method(z.strictObject({}), (_, caller) => {
    callers.push(caller);
  }),
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'control-test-'));
  path = join(directory, 'made', 'x.sock');
  callers = [];
  running = 0;
  server = await ControlServer.open(path, METHODS);
});
afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

/** What the server sends for what is written, until it has sent `count` lines or ended the connection. */
function exchange(text: string | Buffer, count: number): Promise<unknown[]> {
  return new Promise((resolve) => {
    let received = '';
    const socket = connect(path, () => socket.write(text));
    const lines = () => received.split('\n').slice(0, -1);
    const finish = () => {
      socket.destroy();
      resolve(lines().map((line) => JSON.parse(line)));
    };
    socket.on('error', finish).on('close', finish);
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      received += chunk;
      if (lines().length >= count) finish();
    });
  });
}

const request = (method: unknown, params?: unknown, id: unknown = 1) =>
  `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;
const error = (code: number, message: unknown, id: unknown = null) => ({
  jsonrpc: '2.0',
  id,
  error: { code, message },
});

describe('a control socket', () => {
  it('is for its owner only, and is gone when it is closed', async () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, 'made')).mode & 0o777).toBe(0o700);
    const mask = process.umask();
    expect(mask).not.toBe(0o177);
    await server.close();
    expect(statSync(join(directory, 'made'), { throwIfNoEntry: false })).toBeUndefined();
  });

  it('answers requests in order, one at a time, however they are cut', async () => {
    const text = request('slow') + request('add', { a: 2 }, 'two') + request('slow', {}, 3);
    const answers = [
      { jsonrpc: '2.0', id: 1, result: {} },
      { jsonrpc: '2.0', id: 'two', result: 3 },
      { jsonrpc: '2.0', id: 3, result: {} },
    ];
    expect(await exchange(text, 3)).toEqual(answers);
    const socket = connect(path);
    let received = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      received += chunk;
    });
    for (const character of text) socket.write(character);
    await until('the answers', () => received.split('\n').length === 4);
    socket.destroy();
    expect(
      received
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(answers);
  });

  it('performs a notification and does not answer it', async () => {
    const text = `${JSON.stringify({ jsonrpc: '2.0', method: 'watch' })}\n\n${request('add', { a: 1, b: 1 })}`;
    expect(await exchange(text, 1)).toEqual([{ jsonrpc: '2.0', id: 1, result: 2 }]);
    expect(callers).toHaveLength(1);
  });

  it.each<[string, string, object]>([
    [
      'what is not JSON',
      'hello\n',
      error(-32700, expect.stringMatching(/^not JSON: one JSON-RPC 2\.0 object per line/)),
    ],
    ['octets that are not UTF-8', '\xff\xfe\n', error(-32700, expect.anything())],
    [
      'a batch',
      `[${request('add', { a: 1 }).trim()}]\n`,
      error(-32600, expect.stringMatching(/^not a JSON-RPC 2\.0 request/)),
    ],
    [
      'another version',
      '{"jsonrpc":"1.0","id":1,"method":"add"}\n',
      error(-32600, expect.stringContaining('jsonrpc')),
    ],
    ['a method that is no text', request(7), error(-32600, expect.stringContaining('method'))],
    ['an id that is an object', request('add', { a: 1 }, {}), error(-32600, expect.stringContaining('id'))],
    ['params by position', request('add', [1, 2]), error(-32600, expect.stringContaining('params'))],
    [
      'an unknown method',
      request('shutdown'),
      error(-32601, 'no such method; there are add, slow, refuse, fail, watch', 1),
    ],
    ['a method of every object', request('toString'), error(-32601, expect.anything(), 1)],
    [
      'params that are wrong',
      request('add', { a: 'x', c: 1 }),
      error(-32602, expect.stringMatching(/^a: .*"c"/), 1),
    ],
    ['what a method refuses', request('refuse'), error(-32000, 'not today', 1)],
    ['a defect, of which it tells nothing', request('fail'), error(-32603, 'internal error', 1)],
  ])('answers %s with an error, and goes on', async (_, text, answer) => {
    expect(await exchange(Buffer.from(text + request('add', { a: 1 }, 'next'), 'latin1'), 2)).toEqual([
      answer,
      { jsonrpc: '2.0', id: 'next', result: 2 },
    ]);
  });

  it.each([
    ['with an end', `${'x'.repeat(MAX_LINE + 1)}\n${request('add', { a: 1 })}`],
    ['without', 'x'.repeat(4 * MAX_LINE)],
  ])('ends the connection after a line that is too long: %s', async (_, text) => {
    expect(await exchange(text, 2)).toEqual([error(-32600, `a line has at most ${MAX_LINE} characters`)]);
  });

  it('takes so many connections, and tells the next one why not', async () => {
    const clients = await Promise.all(
      Array.from({ length: MAX_CONNECTIONS }, () => ControlClient.connect(path)),
    );
    await Promise.all(clients.map((client) => client.call('add', { a: 1 })));
    expect(await exchange('', 2)).toEqual([
      error(-32000, `there are ${MAX_CONNECTIONS} connections, and there cannot be more`),
    ]);
    await clients[0].close();
    const again = await ControlClient.connect(path);
    expect(await again.call('add', { a: 1 })).toBe(2);
    await Promise.all([...clients, again].map((client) => client.close()));
  });

  it('ends the connection of who watches and does not read, and keeps no more for it than a bound', async () => {
    const socket = connect(path);
    socket.pause();
    socket.on('error', () => {});
    socket.write(request('watch'));
    const caller = await until('the call', () => callers[0]);
    const text = 'x'.repeat(64_000);
    for (let i = 0; i < 100 && !caller.gone.aborted; i++) {
      caller.notify('news', { text });
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(caller.gone.aborted).toBe(true);
    socket.destroy();
  });

  it('does not answer more than a slow reader reads', async () => {
    const socket = connect(path);
    socket.pause();
    socket.on('error', () => {});
    // Answers of some 4 MB, to a reader that reads later.
    const unknown = request('x'.repeat(10), {}, 'y'.repeat(60_000));
    let received = 0;
    for (let i = 0; i < 70; i++) socket.write(unknown);
    await new Promise((resolve) => setImmediate(resolve));
    socket.on('data', (chunk) => {
      received += chunk.toString().split('\n').length - 1;
    });
    socket.resume();
    await until('all answers', () => received === 70);
    socket.destroy();
  });

  it('is taken over from a dead process, but neither from a living one nor from another file', async () => {
    await expect(ControlServer.open(path, {})).rejects.toThrow(
      /another process answers on it: stop that one/,
    );
    const file = join(directory, 'precious');
    writeFileSync(file, 'x');
    await expect(ControlServer.open(file, {})).rejects.toThrow(/precious: there is a file that is no socket/);
    expect(statSync(file).size).toBe(1);
    await expect(ControlServer.open(join(file, 'x.sock'), {})).rejects.toThrow(
      /the control socket cannot be made/,
    );
  });
});

describe('its client', () => {
  it('gets results, refusals and notifications', async () => {
    const told: Notification[] = [];
    const client = await ControlClient.connect(path, (notification) => told.push(notification));
    expect(await Promise.all([client.call('add', { a: 1 }), client.call('add', { a: 2 })])).toEqual([2, 3]);
    await expect(client.call('refuse')).rejects.toThrow('not today');
    await client.call('watch');
    callers[0].notify('news', { of: 'today' });
    await until('the news', () => told.length > 0);
    expect(told).toEqual([{ method: 'news', params: { of: 'today' } }]);
    await client.close();
    await until('its end', () => callers[0].gone.aborted);
  });

  it('is told when the server ends', async () => {
    const client = await ControlClient.connect(path);
    await client.call('watch');
    await server.close();
    await client.closed;
    await expect(client.call('add', { a: 1 })).rejects.toThrow('the connection is closed');
  });

  it('says what to do where there is none', async () => {
    await expect(ControlClient.connect(join(directory, 'no.sock'))).rejects.toThrow(/is the relay running/);
  });
});

describe('the usual place', () => {
  it('is that of the service, of root or of the user', () => {
    expect(socketPath('a', { env: { RUNTIME_DIRECTORY: '/run/x:/run/y' }, uid: 5 })).toBe('/run/x/a.sock');
    expect(socketPath('a', { env: { XDG_RUNTIME_DIR: '/run/user/0' }, uid: 0 })).toBe(
      '/run/ike-telescope/a.sock',
    );
    expect(socketPath('a', { env: { XDG_RUNTIME_DIR: '/run/user/5' }, uid: 5 })).toBe(
      '/run/user/5/ike-telescope/a.sock',
    );
    expect(socketPath('a', { env: {}, uid: 5 })).toBeUndefined();
  });

  it('has one socket, or needs to be told which', () => {
    const env = { XDG_RUNTIME_DIR: directory };
    const from = { env, uid: 5 };
    expect(() => onlySocket(from)).toThrow(/ike-telescope: there is no control socket: .* --socket/);
    const folder = join(directory, 'ike-telescope');
    mkdirSync(folder);
    writeFileSync(join(folder, 'b.sock'), '');
    expect(onlySocket(from)).toBe(join(folder, 'b.sock'));
    writeFileSync(join(folder, 'a.sock'), '');
    expect(() => onlySocket(from)).toThrow(
      `several control sockets: say which with --socket: ${folder}/a.sock, ${folder}/b.sock`,
    );
    expect(() => onlySocket({ env: {}, uid: 5 })).toThrow(/XDG_RUNTIME_DIR is not set/);
  });
});
