import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { relayMetrics } from '../../src/relay/metrics.ts';
import { RelayNetwork } from '../support/sim-relays.ts';

it('the dashboard draws metrics that there are, by labels that they have, and all of them', async () => {
  const relays = new RelayNetwork([{ name: 'a', number: 1 }]);
  const metrics = relayMetrics(await relays.start('a'), '1');
  const text = readFileSync('contrib/grafana-relays.json', 'utf8');
  JSON.parse(text);
  const drawn = new Set(text.match(/ike_telescope_relay_[a-z_]+/g));
  expect([...drawn].sort()).toEqual(
    metrics
      .map(({ name }) => name)
      .filter((name) => !/packets_total|ike_sas/.test(name))
      .sort(),
  );
  const labels = new Set(
    metrics.flatMap(({ values }) => values.flatMap((one) => Object.keys(one.labels ?? {}))),
  );
  for (const [, by] of text.matchAll(/sum by \(([^)]*)\)/g)) {
    for (const label of by.split(', ')) expect([...labels, 'instance', 'reason']).toContain(label);
  }
});
