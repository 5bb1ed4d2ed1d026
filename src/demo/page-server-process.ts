import { once } from 'node:events';
import type { Address } from '../wire/address.ts';
import type { PageServerMessage } from './page.ts';
import { ADDRESSES, type Topology } from './topology.ts';

/** A web server with one page, in a process and a namespace of its own. */
export interface PageServer {
  readonly url: string;
  /** Of the page, hex. */
  readonly sha256: string;
  readonly samples: readonly string[];
  /** Where requests came from so far. */
  readonly clients: readonly Address[];
}

const PORT = 80;

/**
 * Starts it at D.
 * @param onRequest - called for every request, which is answered once the promise resolves
 * @throws Error if it ends instead
 */
export async function startPageServer(
  topology: Topology,
  octets: number,
  onRequest: () => Promise<void>,
): Promise<PageServer> {
  const command = topology.node('demo/page-server.js', ADDRESSES.D, String(PORT), String(octets));
  const child = topology.namespaces.D.spawn(command, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const clients: Address[] = [];
  const { sha256, samples } = await new Promise<Extract<PageServerMessage, { type: 'ready' }>>(
    (resolve, reject) => {
      child.on('message', (message: PageServerMessage) => {
        if (message.type === 'ready') resolve(message);
        else {
          clients.push(message.from);
          void onRequest().then(() => child.send('answer'));
        }
      });
      void once(child, 'exit').then(
        ([status]) => reject(new Error(`the web server ended with status ${status}`)),
        reject,
      );
    },
  );
  return { url: `http://${ADDRESSES.D}/`, sha256, samples, clients };
}
