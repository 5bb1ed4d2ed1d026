/*
 * A web server, and a program that fetches from it, each in a process of its own: node web-process.js serve, or
 * node web-process.js fetch ADDRESS, which is sent `Octets` and answers with `Fetched`.
 */
import { createHash, randomBytes } from 'node:crypto';
import { Agent, createServer, request } from 'node:http';
import type { Readable } from 'node:stream';
import type { Fetched, Octets } from './web.ts';

const BLOCK = randomBytes(1 << 16);

const [, , mode, address] = process.argv;
if (mode === 'serve') serve();
else process.on('message', async ({ down, up }: Octets) => process.send!(await fetchBoth(address, down, up)));

/** GET /N: N octets, their SHA-256 in a header. POST: what was received. Both say who has asked. */
function serve(): void {
  const server = createServer(async (incoming, response) => {
    const peer = incoming.socket.remoteAddress!.replace('::ffff:', '');
    if (incoming.method === 'POST') {
      response.end(JSON.stringify({ peer, ...(await digest(incoming)) }));
      return;
    }
    const length = Number(incoming.url!.slice(1));
    const hash = createHash('sha256');
    for (const block of blocks(length)) hash.update(block);
    response.writeHead(200, { 'content-length': length, 'x-sha256': hash.digest('hex') });
    for (const block of blocks(length))
      if (!response.write(block)) await new Promise((resume) => response.once('drain', resume));
    response.end();
  });
  server.listen(80, '::', () => process.send!('listening'));
}

function* blocks(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= BLOCK.length) yield BLOCK.subarray(0, left);
}

async function fetchBoth(host: string, downLength: number, upLength: number): Promise<Fetched> {
  const agent = new Agent({ keepAlive: true });
  const ask = (method: string, path: string, body?: Uint8Array) =>
    new Promise<Readable & { headers: Record<string, unknown> }>((resolve, reject) => {
      const outgoing = request({ host, path, method, agent }, resolve as never);
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  const started = performance.now();
  const page = await ask('GET', `/${downLength}`);
  const received = await digest(page);
  const milliseconds = performance.now() - started;
  const file = randomBytes(upLength);
  let answer = '';
  for await (const text of (await ask('POST', '/', file)).setEncoding('utf8')) answer += text;
  const { peer, octets, sha256 } = JSON.parse(answer);
  agent.destroy();
  return {
    down: { octets: received.octets, isRight: received.sha256 === page.headers['x-sha256'], milliseconds },
    up: { octets, isRight: sha256 === createHash('sha256').update(file).digest('hex') },
    peer,
  };
}

async function digest(stream: Readable): Promise<{ octets: number; sha256: string }> {
  const hash = createHash('sha256');
  let octets = 0;
  for await (const chunk of stream) {
    hash.update(chunk as Uint8Array);
    octets += (chunk as Uint8Array).length;
  }
  return { octets, sha256: hash.digest('hex') };
}
