import type { Family } from '../wire/address.ts';
import { type CommandOutput, run } from './command.ts';

/**
 * Runs `ip` (iproute2), in the network namespace of process `netns` if given.
 * @throws CommandError with the command and what it wrote
 */
export function ip(
  args: readonly string[],
  options: { readonly netns?: number } = {},
): Promise<CommandOutput> {
  return run(['ip', ...args], options);
}

/**
 * Runs many `ip` commands ("link set lo up") in one process, up to the first that fails. @throws CommandError
 * @param options.family - of those that say nothing of it
 */
export async function ipBatch(
  lines: readonly string[],
  options: {
    readonly netns?: number;
    readonly descriptors?: readonly number[];
    readonly family?: Family;
  } = {},
): Promise<void> {
  const { family, ...where } = options;
  const program = family === undefined ? ['ip'] : ['ip', `-${family}`];
  await run([...program, '-batch', '-'], { ...where, input: `${lines.join('\n')}\n` });
}

/** Runs many `tc` commands ("qdisc add dev tun0 clsact") in one process, up to the first that fails. @throws CommandError */
export async function tcBatch(lines: readonly string[]): Promise<void> {
  await run(['tc', '-batch', '-'], { input: `${lines.join('\n')}\n` });
}
