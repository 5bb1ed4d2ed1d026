/** Times, ascending. */
export type Times = readonly number[];

/**
 * How far the times of one process are from having nothing to do with those of another: where each falls between its two
 * neighbours of the other is uniformly distributed if they are independent, and this is the Kolmogorov-Smirnov distance from
 * that, times the square root of how many there are. Independent processes exceed 1.95 once in a thousand times.
 */
export function phaseDependence(times: Times, others: Times): number {
  const phases = times
    .map((time) => {
      const next = others.findIndex((other) => other > time);
      return next <= 0 ? undefined : (time - others[next - 1]) / (others[next] - others[next - 1]);
    })
    .filter((phase) => phase !== undefined)
    .sort((a, b) => a - b);
  const count = phases.length;
  const distance = phases.reduce(
    (most, phase, i) => Math.max(most, phase - i / count, (i + 1) / count - phase),
    0,
  );
  return distance * Math.sqrt(count);
}
