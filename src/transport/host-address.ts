import { createSocket } from 'node:dgram';
import { ip } from '../host/ip.ts';
import { LinkError } from '../link/link.ts';
import { type Address, familyOf } from '../wire/address.ts';

/** Any port will do: connecting a UDP socket sends nothing. */
export const DISCARD_PORT = 9;

/** Our address towards `remote`, as the host's routes choose it; nothing is sent. @throws LinkError without a route */
export function sourceAddress(remote: Address): Promise<Address> {
  const socket = createSocket(familyOf(remote) === 4 ? 'udp4' : 'udp6');
  return new Promise<Address>((resolve, reject) => {
    const fail = (error: Error) => reject(new LinkError(`no route to ${remote}`, { cause: error }));
    socket.once('error', fail);
    socket.connect(DISCARD_PORT, remote, (error?: Error) => {
      if (error) fail(error);
      else resolve(socket.address().address);
    });
  }).finally(() => socket.close());
}

/** The MTU in octets of the interface that has `address`. @throws LinkError if none has; CommandError without iproute2 */
export async function interfaceMtu(address: Address): Promise<number> {
  // By netlink: /sys/class/net shows the namespace that it was mounted in, which may not be ours.
  const { stdout } = await ip(['-json', 'address', 'show', 'to', address]);
  const interfaces: readonly { readonly mtu?: number }[] = JSON.parse(stdout || '[]');
  const mtu = interfaces.find((entry) => entry.mtu !== undefined)?.mtu;
  if (mtu === undefined) throw new LinkError(`no interface of this host has the address ${address}`);
  return mtu;
}

/** The interface that the host's routes choose towards `remote`. @throws LinkError without a route; CommandError without iproute2 */
export async function interfaceTowards(remote: Address): Promise<string> {
  const { stdout } = await ip(['-json', 'route', 'get', remote]);
  const [route]: readonly { readonly dev?: string }[] = JSON.parse(stdout || '[]');
  if (route?.dev === undefined) throw new LinkError(`no route to ${remote}`);
  return route.dev;
}
