import { MetricsServer } from '../control/metrics.ts';
import { ControlError, ControlServer } from '../control/server.ts';
import { socketPath } from '../control/socket-path.ts';
import { systemClock } from '../endpoint/system-clock.ts';
import type { RelayConfig } from '../relay/config.ts';
import { relayMethods } from '../relay/control.ts';
import { relayMetrics } from '../relay/metrics.ts';
import type { Relay } from '../relay/relay.ts';
import { packageVersion } from './version.ts';

/**
 * Opens the control socket of a relay, and its metrics if they are asked for.
 * @param reload - reads relay.yaml again
 * @param warn - is told why there is no control socket, where none was asked for
 * @returns what closes both
 * @throws ControlError for what was asked for and cannot be
 */
export async function openRelayServices(
  relay: Relay,
  config: RelayConfig,
  reload: () => readonly string[],
  warn: (problem: string) => void,
): Promise<() => Promise<void>> {
  const version = packageVersion();
  const methods = relayMethods({ relay, clock: systemClock, version, reload });
  const path = config.control ?? socketPath(config.own.name);
  let control: ControlServer | undefined;
  try {
    if (path === undefined) warn('there is no control socket: XDG_RUNTIME_DIR is not set');
    else control = await ControlServer.open(path, methods);
  } catch (error) {
    if (config.control !== undefined || !(error instanceof ControlError)) throw error;
    warn(`there is no control socket: ${error.message}`);
  }
  let metrics: MetricsServer | undefined;
  try {
    if (config.metrics !== undefined) {
      metrics = await MetricsServer.open(config.metrics, systemClock, () => relayMetrics(relay, version));
    }
  } catch (error) {
    await control?.close();
    throw error;
  }
  return async () => {
    await Promise.all([control?.close(), metrics?.close()]);
  };
}
