import { writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { systemClock } from '../../src/endpoint/system-clock.ts';
import type { NetworkNamespace } from '../../src/host/namespace.ts';
import { Relay } from '../../src/relay/relay.ts';
import { openTelescope } from '../../src/telescope/telescope.ts';
import { HostLink } from '../../src/transport/host-link.ts';
import { within, withNamespaces } from '../support/namespaces.ts';
import { relayConfigs } from '../support/sim-relays.ts';

const crypto = nodeProvider();
const PORTS = 'ikePort: 15517\nencapsulatedPort: 15518\nmtu: 1500\nencapsulation: udp';
const configs = relayConfigs([
  { name: 'a', number: 1, address: '127.0.77.1', peers: ['b'], more: PORTS },
  { name: 'b', number: 2, address: '127.0.77.2', peers: ['a'], more: `${PORTS}\nexit: { kind: sockets }` },
]);
const opened: { close(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (const thing of opened.splice(0).reverse()) await thing.close();
});

async function open(name: string): Promise<Relay> {
  const relay = await Relay.open({ config: configs.get(name)!, crypto, clock: systemClock });
  opened.push(relay);
  return relay;
}

describe('relays on sockets of the host, without privileges', () => {
  it('carry a telescope', async () => {
    const [a, b] = [await open('a'), await open('b')];
    await Promise.all([a.ready, b.ready]);
    const link = new HostLink({
      address: '127.0.77.3',
      mtu: 1500,
      ikePort: 15517,
      encapsulatedPort: 15518,
      peerIkePort: 15517,
      peerEncapsulatedPort: 15518,
      encapsulatedOnly: true,
    });
    const path = ['a', 'b'].map((name) => configs.get(name)!.own);
    const telescope = await openTelescope(link, path, {
      crypto,
      clock: systemClock,
      encapsulated: true,
    });
    opened.push(telescope);
    expect(b.state().clients).toMatchObject([{ overlayPeer: 'a', assigned: telescope.assigned }]);
    await telescope.close();
    expect(a.state().clients).toEqual([]);
  });

  it('say which port is in use, and leave nothing open', async () => {
    await open('a');
    await expect(Relay.open({ config: configs.get('a')!, crypto, clock: systemClock })).rejects.toThrow(
      /UDP port 15517 of 127\.0\.77\.1 is in use/,
    );
  });

  it('refuse to promise a larger overlay MTU than their network carries', async () => {
    const [config] = relayConfigs([
      {
        name: 'a',
        number: 1,
        address: '127.0.77.1',
        more: `${PORTS.replace('1500', '1400')}\noverlayMtu: 1400`,
      },
    ]).values();
    await expect(Relay.open({ config, crypto, clock: systemClock })).rejects.toThrow(
      /promises an overlay MTU of 1400 octets, but a network of MTU 1400 carries 1338: set overlayMtu: 1338/,
    );
  });
});

describe('relays whose packets the kernel is to carry', () => {
  const openIn = (namespace: NetworkNamespace, more: string) => {
    const [config] = relayConfigs([{ name: 'a', number: 1, more: `backend: xfrm\n${more}` }]).values();
    return within(namespace, () => Relay.open({ config, crypto, clock: systemClock }));
  };

  it('say what they lack', () =>
    withNamespaces(1, async (namespace) => {
      const forward = (value: number) =>
        within(namespace, () => writeFileSync('/proc/sys/net/ipv4/ip_forward', String(value)));
      forward(0);
      await expect(openIn(namespace, '')).rejects.toThrow(
        'does not forward IPv4 packets, which a relay with backend: xfrm needs: sysctl -w net.ipv4.ip_forward=1',
      );
      forward(1);
      await expect(openIn(namespace, 'ikePort: 1500')).rejects.toThrow(
        'backend: xfrm needs ikePort: 500 and encapsulatedPort: 4500',
      );
      await expect(openIn(namespace, 'exit: { kind: sockets }')).rejects.toThrow(
        'with backend: xfrm write kind: kernel',
      );
      await expect(openIn(namespace, '')).rejects.toThrow('needs the package koffi');
    }));
});
