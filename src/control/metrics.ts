import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock, Millis } from '../link/clock.ts';
import type { Address } from '../wire/address.ts';
import { ControlError } from './server.ts';

/** A metric with its values, each with what tells it from the others. */
export interface Metric {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly values: readonly { readonly labels?: Readonly<Record<string, string>>; readonly value: number }[];
}

/** Metrics in Prometheus' text format, version 0.0.4. */
export function metricsText(metrics: readonly Metric[]): string {
  return metrics
    .map(({ name, type, help, values }) =>
      [
        `# HELP ${name} ${help}`,
        `# TYPE ${name} ${type}`,
        ...values.map(({ labels, value }) => `${name}${labelsText(labels)} ${value}`),
        '',
      ].join('\n'),
    )
    .join('');
}

function labelsText(labels: Readonly<Record<string, string>> = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return pairs.length === 0 ? '' : `{${pairs.join()}}`;
}

/** How long the same figures are told: finer steps would show single packets to whoever reads them. */
const STEP: Millis = 1_000;
const MAX_CONNECTIONS = 8;
const PATIENCE = 5_000;

/** Tells metrics to Prometheus, by HTTP, at /metrics. */
export class MetricsServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @param look - what is told, at most once in a second. @throws ControlError */
  static async open(
    { address, port }: { readonly address: Address; readonly port: number },
    clock: Clock,
    look: () => readonly Metric[],
  ): Promise<MetricsServer> {
    let seen: { readonly at: Millis; readonly text: string } | undefined;
    const text = () => {
      const now = clock.now();
      if (seen === undefined || now - seen.at >= STEP) seen = { at: now, text: metricsText(look()) };
      return seen.text;
    };
    const server = createServer(
      {
        requestTimeout: PATIENCE,
        headersTimeout: PATIENCE,
        keepAliveTimeout: PATIENCE,
        maxHeaderSize: 4_096,
      },
      (request, response) => {
        const status = request.url !== '/metrics' ? 404 : request.method !== 'GET' ? 405 : 200;
        response.writeHead(status, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
        response.end(status === 200 ? text() : 'GET /metrics\n');
      },
    );
    server.maxConnections = MAX_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(refusal(address, port, error)));
      server.listen(port, address, resolve);
    });
    return new MetricsServer(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

function refusal(address: Address, port: number, error: NodeJS.ErrnoException): ControlError {
  const remedies: Readonly<Record<string, string>> = {
    EADDRINUSE: 'is in use: choose another one',
    EACCES: 'needs privileges: choose one over 1023',
    EADDRNOTAVAIL: 'cannot be opened: this host does not have that address',
  };
  const remedy = remedies[error.code ?? ''] ?? `cannot be opened: ${error.message}`;
  return new ControlError(`metrics: TCP port ${port} of ${address} ${remedy}`);
}
