import { CommanderError } from 'commander';
import { XfrmError } from '../backend/xfrm/channel.ts';
import { StateError } from '../client/client-state.ts';
import { ControlError } from '../control/server.ts';
import { KeyLogError } from '../decode/key-log-files.ts';
import { DescriptorError } from '../descriptor/document.ts';
import { ExitError } from '../forward/exit.ts';
import { CommandError } from '../host/command.ts';
import { LinkError } from '../link/link.ts';
import { NativeError } from '../native/native.ts';
import { ConfigError } from '../relay/config-document.ts';
import { SelectionError } from '../select/paths.ts';

/** Exit statuses of `ike-telescope`, from sysexits.h; a command's own status is passed on instead. */
export const ExitStatus = {
  OK: 0,
  /** The command line or a file that it names is wrong. */
  USAGE: 64,
  /** The telescope could not be built, or was lost. */
  UNAVAILABLE: 69,
  /** A defect of this program. */
  SOFTWARE: 70,
  /** This machine did not do its part: a privilege, a program, an address or a port is missing. */
  OS: 71,
} as const;

/** What kind of failure an error is. */
export type FailureKind = 'usage' | 'telescope' | 'system' | 'internal';

export const STATUS_OF: Readonly<Record<FailureKind, number>> = {
  usage: ExitStatus.USAGE,
  telescope: ExitStatus.UNAVAILABLE,
  system: ExitStatus.OS,
  internal: ExitStatus.SOFTWARE,
};

/** A command line, or a file named in it, that cannot be used. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const USAGE = [UsageError, KeyLogError, DescriptorError, ConfigError, CommanderError, SelectionError];
const SYSTEM = [LinkError, CommandError, NativeError, XfrmError, ExitError, StateError, ControlError];

export function kindOf(error: unknown): FailureKind {
  if (USAGE.some((type) => error instanceof type)) return 'usage';
  return SYSTEM.some((type) => error instanceof type) ? 'system' : 'internal';
}
