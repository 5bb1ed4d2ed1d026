#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { controlCommands } from './control.ts';
import { decodeCommand } from './decode.ts';
import { demoCommand } from './demo.ts';
import { extendCommand } from './extend.ts';
import { kindOf, STATUS_OF } from './failure.ts';
import { keygenCommand } from './keygen.ts';
import { probeCommand } from './probe.ts';
import { relayCommand } from './relay.ts';
import { relayConfigCommand } from './relay-config.ts';
import { upCommand } from './up.ts';
import { packageVersion } from './version.ts';

const program = new Command('ike-telescope')
  .description('anonymous paths out of standard IKEv2 and IPsec')
  .version(packageVersion())
  .enablePositionalOptions()
  .exitOverride()
  .configureOutput({
    outputError: (text, write) => write(text.replace(/^error: /, 'ike-telescope: ')),
  });
const commands = [
  keygenCommand(),
  relayCommand(),
  relayConfigCommand(),
  probeCommand(),
  extendCommand(),
  upCommand(),
  demoCommand(),
  decodeCommand(),
  ...controlCommands(),
];
for (const command of commands) {
  program.addCommand(command.copyInheritedSettings(program));
}

// Whoever read our output (head, a pager) has seen enough.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** @returns the exit status */
function report(error: unknown): number {
  // Commander has said it, or has printed the help or the version that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : STATUS_OF.usage;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`ike-telescope: ${message}\n`);
  if (process.env.DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return STATUS_OF[kindOf(error)];
}
