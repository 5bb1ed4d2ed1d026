import { afterEach, expect, it } from 'vitest';
import { type Metric, MetricsServer, metricsText } from '../../src/control/metrics.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

let server: MetricsServer | undefined;
afterEach(() => server?.close());

it('are text as Prometheus reads it', () => {
  const values: Metric['values'] = [
    { labels: { reason: 'a "b"\\' }, value: 1 },
    { labels: { reason: 'c', direction: 'in' }, value: 2.5 },
  ];
  expect(
    metricsText([
      { name: 'x_total', type: 'counter', help: 'Of x.', values },
      { name: 'y', type: 'gauge', help: 'Of y.', values: [{ value: 0 }] },
    ]),
  ).toBe(
    '# HELP x_total Of x.\n# TYPE x_total counter\nx_total{reason="a \\"b\\"\\\\"} 1\nx_total{reason="c",direction="in"} 2.5\n' +
      '# HELP y Of y.\n# TYPE y gauge\ny 0\n',
  );
});

it('are told at /metrics, and change once in a second', async () => {
  const clock = new VirtualClock();
  let value = 0;
  const look = () => [{ name: 'x', type: 'counter', help: 'Of x.', values: [{ value: ++value }] }] as const;
  server = await MetricsServer.open({ address: '127.0.0.1', port: 0 }, clock, look);
  const ask = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${server?.port}${path}`, { method });
  const first = await ask('/metrics');
  expect(first.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(await first.text()).toContain('\nx 1\n');
  await clock.advance(999);
  expect(await (await ask('/metrics')).text()).toContain('\nx 1\n');
  await clock.advance(1);
  expect(await (await ask('/metrics')).text()).toContain('\nx 2\n');
  expect((await ask('/')).status).toBe(404);
  expect((await ask('/metrics', 'POST')).status).toBe(405);
});

it('say which port is in use', async () => {
  server = await MetricsServer.open({ address: '127.0.0.1', port: 0 }, new VirtualClock(), () => []);
  const taken = { address: '127.0.0.1', port: server.port };
  await expect(MetricsServer.open(taken, new VirtualClock(), () => [])).rejects.toThrow(
    `metrics: TCP port ${taken.port} of 127.0.0.1 is in use`,
  );
});
