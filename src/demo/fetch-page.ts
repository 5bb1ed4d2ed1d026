import { createHash } from 'node:crypto';
import { get } from 'node:http';
import type { FetchedPage } from './page.ts';

/** The program inside the telescope: `node fetch-page.js URL` fetches a page and prints a `FetchedPage`. */
const PATIENCE = 30_000;

const request = get(process.argv[2], { agent: false, timeout: PATIENCE }, (response) => {
  const hash = createHash('sha256');
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  response.on('end', () => {
    const page: FetchedPage = { status: response.statusCode ?? 0, bytes, sha256: hash.digest('hex') };
    console.log(JSON.stringify(page));
  });
});
request.on('timeout', () => request.destroy(new Error(`nothing came for ${PATIENCE / 1000} seconds`)));
request.on('error', (error) => {
  console.error(`fetching the page: ${error.message}`);
  process.exitCode = 1;
});
