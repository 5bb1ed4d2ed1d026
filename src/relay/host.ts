import { type Exit, ExitError } from '../forward/exit.ts';
import { openKernelExit } from '../forward/kernel-exit.ts';
import { openSocketExit } from '../forward/socket-exit.ts';
import { openTunExit } from '../forward/tun-exit.ts';
import type { Clock } from '../link/clock.ts';
import type { Native } from '../native/native.ts';
import { interfaceMtu } from '../transport/host-address.ts';
import { HostLink } from '../transport/host-link.ts';
import type { Address } from '../wire/address.ts';
import type { RelayConfig } from './config.ts';
import { present } from './families.ts';
import type { HostLinks } from './relay-link.ts';

/** The largest packet that reaches every client: the inner MTU that all telescopes share. */
export const CLIENT_MTU = 1280;

/**
 * The links of a relay's host, not yet attached. @throws LinkError, CommandError
 * @param kernelEsp - ESP is the kernel's
 */
export async function hostLinks(
  config: RelayConfig,
  native: Native | undefined,
  kernelEsp = false,
): Promise<HostLinks> {
  const open = async (id: string, address: Address | undefined) =>
    address === undefined
      ? undefined
      : new HostLink({
          id,
          address,
          native,
          mtu: config.mtu ?? (await interfaceMtu(address)),
          ikePort: config.ikePort,
          encapsulatedPort: config.encapsulatedPort,
          // The ports are one pair for the whole network of relays.
          peerIkePort: config.ikePort,
          peerEncapsulatedPort: config.encapsulatedPort,
          encapsulatedOnly: config.encapsulatedOnly,
          kernelEsp,
        });
  const { ip4, ip6 } = config.own.addresses;
  return { ip4: await open('host4', ip4), ip6: await open('host6', ip6) };
}

/** The exit that the configuration asks for. @throws ExitError, NativeError, CommandError saying what to do */
export async function openExit(
  config: RelayConfig,
  environment: {
    readonly native: Native | undefined;
    readonly clock: Clock;
    readonly random: (length: number) => Uint8Array;
  },
): Promise<Exit | undefined> {
  const { exit, own } = config;
  if (exit === undefined) return undefined;
  const { native, clock, random } = environment;
  if (exit.kind === 'sockets') return openSocketExit({ clock, native });
  if (native === undefined) {
    throw new ExitError(
      `an exit of kind ${exit.kind} needs the package koffi; install it, or use kind: sockets`,
    );
  }
  const tun = { native, clock, random, mtu: CLIENT_MTU };
  return exit.kind === 'napt'
    ? openTunExit(present(exit.addresses), tun)
    : openKernelExit(present(own.pools), tun);
}
