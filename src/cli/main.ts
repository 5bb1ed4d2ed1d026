#!/usr/bin/env node
import { existsSync, readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { decodeCommand } from './decode.ts';
import { demoCommand } from './demo.ts';
import { extendCommand } from './extend.ts';
import { kindOf, STATUS_OF } from './failure.ts';
import { keygenCommand } from './keygen.ts';
import { probeCommand } from './probe.ts';
import { relayCommand } from './relay.ts';
import { relayConfigCommand } from './relay-config.ts';
import { upCommand } from './up.ts';

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
];
for (const command of commands) {
  program.addCommand(command.copyInheritedSettings(program));
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

/** The version in the package.json that this file belongs to. */
function packageVersion(): string {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    const file = new URL('package.json', folder);
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
    if (folder.pathname === '/') return 'unknown';
  }
}
