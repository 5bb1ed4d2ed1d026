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

/** Runs many `ip` commands ("link set lo up") in one process, up to the first that fails. @throws CommandError */
export async function ipBatch(
  lines: readonly string[],
  options: { readonly netns?: number; readonly descriptors?: readonly number[] } = {},
): Promise<void> {
  await run(['ip', '-batch', '-'], { ...options, input: `${lines.join('\n')}\n` });
}
