import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** How a command ended: its status, or 128 + the signal's number; `reason` if it could not be started (126, 127). */
export interface CommandEnd {
  readonly status: number;
  readonly reason?: string;
}

export interface RunningCommand {
  readonly ended: Promise<CommandEnd>;
  kill(signal: NodeJS.Signals): void;
}

/** Ways to the host's D-Bus services: what these are asked to fetch, they fetch in clear. */
const HOST_SERVICES = ['DBUS_SESSION_BUS_ADDRESS', 'DBUS_SYSTEM_BUS_ADDRESS', 'XDG_RUNTIME_DIR'];

/** Starts a command on our terminal. It inherits our standard streams, and no other file descriptor. */
export function startCommand([program, ...args]: readonly string[]): RunningCommand {
  const env = { ...process.env };
  for (const name of HOST_SERVICES) delete env[name];
  const child = spawn(program, args, { stdio: 'inherit', env });
  const ended = new Promise<CommandEnd>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (child.pid !== undefined) return;
      const missing = error.code === 'ENOENT';
      resolve({
        status: missing ? 127 : 126,
        reason: `${program}: ${missing ? 'command not found' : error.message}`,
      });
    });
    child.once('exit', (code, signal) => {
      resolve({ status: code ?? 128 + constants.signals[signal!] });
    });
  });
  return { ended, kill: (signal) => child.kill(signal) };
}
