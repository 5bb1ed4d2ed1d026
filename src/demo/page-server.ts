import { createHash, randomBytes, randomInt } from 'node:crypto';
import { createServer } from 'node:http';
import type { PageServerMessage } from './page.ts';

/**
 * The web server D, a process of its own: `node page-server.js ADDRESS PORT OCTETS`, with an IPC channel to the demo. It
 * serves one page of random letters from 'g' to 'v', of which no form of an address has any. A request is reported and then
 * answered when the demo says so: it looks at the relays meanwhile.
 */
const [address, port, octets] = process.argv.slice(2);
const page = Buffer.from(randomBytes(Number(octets)).map((octet) => 'g'.charCodeAt(0) + (octet & 15)));
const samples = Array.from({ length: 16 }, () => randomInt(page.length - 32)).map((at) =>
  page.toString('latin1', at, at + 32),
);

const server = createServer((request, response) => {
  process.once('message', () => {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': page.length }).end(page);
  });
  report({ type: 'request', from: request.socket.remoteAddress ?? '' });
});
server.listen(Number(port), address, () => {
  report({ type: 'ready', sha256: createHash('sha256').update(page).digest('hex'), samples });
});

function report(message: PageServerMessage): void {
  process.send?.(message);
}
