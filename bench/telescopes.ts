import { TelescopeWorld } from '../test/support/sim-telescope.ts';

/** Building a telescope with all relays in this process and no network delay. */
export interface BuildFigures {
  readonly hops: number;
  /** Medians; the CPU time is that of client and relays together. */
  readonly milliseconds: number;
  readonly cpuMillisecondsPerHop: number;
}

export async function telescopeBuilds(hops: number, count: number): Promise<BuildFigures> {
  const world = await TelescopeWorld.open({ relays: hops, latency: 0 });
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let i = -3; i < count; i++) {
    const cpuBefore = process.cpuUsage();
    const before = performance.now();
    const telescope = await world.build({ innerMtu: 576 });
    const used = process.cpuUsage(cpuBefore);
    if (i >= 0) {
      wall.push(performance.now() - before);
      cpu.push((used.user + used.system) / 1000 / hops);
    }
    await world.clock.until(telescope.close());
  }
  return { hops, milliseconds: round(median(wall)), cpuMillisecondsPerHop: round(median(cpu)) };
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1];
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
