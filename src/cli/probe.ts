import { createPublicKey } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { defaultProvider } from '../crypto/default.ts';
import { systemClock } from '../endpoint/system-clock.ts';
import { loadNative } from '../native/load.ts';
import { NativeError } from '../native/native.ts';
import type { WatchPackets } from '../probe/outer-headers.ts';
import { POINTS, type Point } from '../probe/point.ts';
import { probe } from '../probe/probe.ts';
import { watchInterface } from '../probe/watch-interface.ts';
import { interfaceTowards } from '../transport/host-address.ts';
import { openHostLink } from '../transport/open-host-link.ts';
import { type Address, type Family, parseAddress } from '../wire/address.ts';
import { ExitStatus } from './failure.ts';

interface ProbeCommandOptions {
  readonly sharedKey: string;
  readonly publicKey?: Uint8Array;
  readonly family?: '4' | '6';
  readonly echo?: Address;
  readonly relay: readonly Address[];
  readonly json?: true;
}

const HELP = `
It is a client that trusts whoever answers, and is not anonymous. Each point is passed, failed, or unknown. One of its clients says
INITIAL_CONTACT: a responder that heeds that of clients whom nobody can tell apart ends the tunnels of all others.

Exit status: 0 it can serve as a relay; 69 it cannot, or does not answer; 64 the command line is wrong; 71 this machine lacks a
route or a program; 70 a defect of ike-telescope.`;

export function probeCommand(): Command {
  return new Command('probe')
    .description('ask an IKEv2 responder, as a client would, whether it can serve as a relay')
    .argument('<address>', "the responder's", address)
    .option('--shared-key <text>', 'the key that everybody knows', 'anonymous')
    .option('--public-key <key>', 'what it has to prove: a PEM file, or base64 as in a path file', publicKey)
    .addOption(new Option('--family <number>', 'of the address that it is to assign').choices(['4', '6']))
    .option('--echo <address>', 'a host beyond it that answers echo requests', address)
    .option('--relay <address...>', 'other relays that it has overlays with', addresses, [])
    .option('--json', 'report points as one JSON object per line')
    .addHelpText('after', HELP)
    .action(async (responder: Address, options: ProbeCommandOptions) => {
      process.exitCode = await runProbe(responder, options);
    });
}

function address(text: string): Address {
  try {
    return parseAddress(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function addresses(text: string, previous: readonly Address[]): readonly Address[] {
  return [...previous, address(text)];
}

function publicKey(text: string): Uint8Array {
  try {
    const key = existsSync(text)
      ? createPublicKey(readFileSync(text, 'utf8'))
      : createPublicKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'spki' });
    return new Uint8Array(key.export({ format: 'der', type: 'spki' }));
  } catch {
    throw new InvalidArgumentError(
      'It must be the PEM file of a public key, or its SubjectPublicKeyInfo in base64.',
    );
  }
}

/** @returns the exit status */
async function runProbe(responder: Address, options: ProbeCommandOptions): Promise<number> {
  const { sharedKey, publicKey, family, echo, relay, json } = options;
  const first = await openHostLink(responder);
  const watch = await watchOf(responder);
  const say = (point: Point) => process.stdout.write(json ? `${JSON.stringify(point)}\n` : pointText(point));
  const { canServe } = await probe({
    crypto: defaultProvider(),
    clock: systemClock,
    address: responder,
    openLink: () => openHostLink(responder),
    encapsulated: first.encapsulatedOnly,
    ...(family !== undefined && { family: Number(family) as Family }),
    publicSharedKey: sharedKey,
    ...(publicKey !== undefined && { publicKey }),
    ...(echo !== undefined && { echo }),
    relays: relay,
    ...(watch !== undefined && { watch }),
    onPoint: say,
  });
  const verdict = `${responder} ${canServe ? 'can' : 'cannot'} serve as a relay`;
  process.stdout.write(json ? `${JSON.stringify({ address: responder, canServe })}\n` : `${verdict}\n`);
  return canServe ? ExitStatus.OK : ExitStatus.UNAVAILABLE;
}

/** Undefined without the privilege to see packets. */
async function watchOf(responder: Address): Promise<WatchPackets | undefined> {
  const loaded = loadNative();
  if (!('native' in loaded)) return undefined;
  try {
    return watchInterface(loaded.native, await interfaceTowards(responder));
  } catch (error) {
    if (error instanceof NativeError) return undefined;
    throw error;
  }
}

function pointText({ id, status, reason, remedy }: Point): string {
  const line = `${status.padEnd(8)} ${POINTS[id]}: ${reason}\n`;
  return remedy === undefined ? line : `${line}${' '.repeat(9)}${remedy}\n`;
}
