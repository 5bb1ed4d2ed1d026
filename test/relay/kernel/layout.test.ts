import { describe, expect, it } from 'vitest';
import { LinkError } from '../../../src/link/link.ts';
import { firewallRules } from '../../../src/relay/kernel/firewall.ts';
import {
  clientRouteCommands,
  deviceCommands,
  deviceOf,
  type Layout,
  layoutOf,
  routeCommands,
} from '../../../src/relay/kernel/layout.ts';
import { overlaySelectors } from '../../../src/relay/overlay-selectors.ts';
import { anySelector } from '../../../src/wire/traffic-selector.ts';
import { relayConfigs } from '../../support/sim-relays.ts';

const [a] = relayConfigs([
  { name: 'a', number: 1, peers: ['b', 'c'] },
  { name: 'b', number: 2 },
  { name: 'c', number: 3 },
]).values();

/** Numbers from 1 on. */
function names() {
  let last = 0;
  return { prefix: 'ikt9', allocate: () => ++last, deviceName: (number: number) => `ikt9-${number}` };
}

const layout = layoutOf(a, names(), () => 1500, [4, 6]);

describe("the layout of a relay's kernel", () => {
  it('has one device for clients, and one for each overlay, with what fits a packet of the network', () => {
    expect(deviceCommands(layout)).toEqual([
      'link add ikt9-1 type vti local 192.0.2.1 key 1',
      'link set ikt9-1 mtu 1446 addrgenmode none',
      'link add ikt9-3 type vti local 192.0.2.1 remote 192.0.2.2 key 3',
      'link set ikt9-3 mtu 1446 addrgenmode none',
      'link add ikt9-5 type vti local 192.0.2.1 remote 192.0.2.3 key 5',
      'link set ikt9-5 mtu 1446 addrgenmode none',
    ]);
  });

  it('routes pools and, for clients alone, peers into the devices, and nowhere else when these are gone', () => {
    const commands = routeCommands(layout, 4);
    expect(commands).toContain('route add 10.1.0.0/16 dev ikt9-1 table 7');
    expect(commands).toContain('route add 10.1.0.0/16 dev ikt9-1 table 8 mtu lock 1334');
    expect(commands).toContain('route add 192.0.2.2/32 dev ikt9-3 table 7');
    expect(commands).toContain('route add 10.3.0.0/16 dev ikt9-5 table 7');
    const routes = commands.filter((command) => / dev /.test(command));
    for (const route of routes) {
      const [, , block, , , , table] = route.split(' ');
      expect(commands).toContain(`route add blackhole ${block} table ${table} metric 4096`);
    }
    expect(commands.filter((command) => command.startsWith('rule'))).toEqual([
      'rule add pref 1670 iif ikt9-3 lookup 7',
      'rule add pref 1670 iif ikt9-5 lookup 7',
      'rule add pref 1670 from 10.1.0.0/16 lookup 7',
      'rule add pref 1670 to 10.1.0.0/16 lookup 8',
      'rule add pref 1670 to 10.2.0.0/16 lookup 7',
      'rule add pref 1670 to 10.3.0.0/16 lookup 7',
    ]);
  });

  it('has its own packets stay in the overlay to where nobody else leads', () => {
    const hidden = { ...a.own, addresses: { ip4: '10.99.0.1', ip6: '2001:db8::1' } };
    const peer = { ...a.peers[0], addresses: { ip4: '10.99.0.2', ip6: '2001:db8::2' } };
    const inside = layoutOf({ ...a, own: hidden, peers: [peer] }, names(), () => 1500, [4, 6]);
    const [overlay] = inside.overlays;
    expect([overlay.family, overlay.local, overlay.remote]).toEqual([6, '2001:db8::1', '2001:db8::2']);
    const rule = 'rule add pref 1670 to 10.99.0.2/32';
    expect(routeCommands(inside, 4)).toContain(`${rule} lookup ${inside.table}`);
    expect(routeCommands(layout, 4).join()).not.toContain('to 192.0.2.2/32 lookup');
  });

  it('has a device for the clients of each family, and routes those of the second one by one', () => {
    const own = { ...a.own, addresses: { ip4: '192.0.2.1', ip6: '2001:db8::1' } };
    const both: Layout = layoutOf({ ...a, own }, names(), () => 1500, [4, 6]);
    expect(both.clients.map(({ family, mtu }) => [family, mtu])).toEqual([
      [4, 1446],
      [6, 1426],
    ]);
    const [pool] = routeCommands(both, 4);
    expect(pool).toBe('route add 10.1.0.0/16 dev ikt9-1 table 9');
    const assigned = [{ family: 4, bytes: Uint8Array.of(10, 1, 0, 5), length: 32 }] as const;
    expect(clientRouteCommands(both, 'add', assigned, '192.0.2.99')).toEqual([]);
    expect(clientRouteCommands(both, 'del', assigned, '2001:db8::99')).toEqual([
      'route del 10.1.0.5/32 dev ikt9-3 table 9',
      'route del 10.1.0.5/32 dev ikt9-3 table 10',
    ]);
  });

  it('has nothing of IPv6 where the kernel has none', () => {
    const without = layoutOf(a, names(), () => 1500, [4]);
    expect(without.own.map(({ family }) => family)).toEqual([4]);
    expect(deviceCommands(without)).toContain('link set ikt9-1 mtu 1446');
    expect(firewallRules(without, undefined).filter(({ family }) => family === 6)).toEqual([]);
  });

  it("refuses clients that have a peer's address, which would be lost in its overlay", () => {
    const [peer] = a.peers;
    const client = { remote: [anySelector(4)] };
    const direct = { address: '192.0.2.2' };
    expect(deviceOf(a, layout, overlaySelectors(a.own, peer), direct).name).toBe('ikt9-3');
    expect(deviceOf(a, layout, client, { address: '192.0.2.99' }).name).toBe('ikt9-1');
    expect(deviceOf(a, layout, client, { address: '10.2.0.7', overlayPeer: peer.keyId }).name).toBe('ikt9-1');
    expect(() => deviceOf(a, layout, client, direct)).toThrow(LinkError);
    expect(() => deviceOf(a, layout, client, direct)).toThrow(
      "a client on the host of relay 'b' enters here",
    );
  });
});
