import { writeFileSync } from 'node:fs';
import { CommandError } from '../../src/host/command.ts';
import { ipBatch } from '../../src/host/ip.ts';
import { connectNamespaces, type NetworkNamespace, openNamespace } from '../../src/host/namespace.ts';
import type { Address } from '../../src/wire/address.ts';
import { type UdpEnd, udpIn, within } from '../support/namespaces.ts';

/** The addresses of the two hosts, as each other sees them without a NAT, and of what is behind them. */
export const ADDRESSES = {
  daemon: { 4: '192.0.2.1', 6: '2001:db8::1' },
  ours: { 4: '192.0.2.2', 6: '2001:db8::2' },
  behindNat: '10.5.0.2',
  /** Those that they have after they have moved. */
  moved: { daemon: '192.0.2.11', ours: '192.0.2.12' },
  /** Hosts in the networks that the ends protect; the daemon's are its own. */
  daemonInner: { 4: '10.77.0.1', 6: 'fd77::1' },
  oursInner: { 4: '10.88.0.1', 6: 'fd88::1' },
} as const;

export const NETWORKS = {
  daemonInner: { 4: '10.77.0.0/24', 6: 'fd77::/64' },
  oursInner: { 4: '10.88.0.0/24', 6: 'fd88::/64' },
} as const;

/** Whose network is behind a router that does NAPT. */
export type NatSide = 'ours' | 'daemon';

/** A host for a daemon and one for us, in network namespaces, joined by a cable or by a router that does NAPT. */
export interface World {
  readonly daemon: NetworkNamespace;
  readonly ours: NetworkNamespace;
  /** As the hosts themselves have them. */
  readonly ourAddress: { readonly 4: Address; readonly 6: Address };
  readonly daemonAddress: { readonly 4: Address; readonly 6: Address };
  /** Gives a host another IPv4 address, if there is no NAT. */
  move(whose: 'daemon' | 'ours'): Promise<void>;
  /** A socket on the daemon's side of the tunnel. */
  inner(address: Address): UdpEnd;
  close(): Promise<void>;
}

export async function openWorld(nat: NatSide | undefined): Promise<World> {
  const opened: NetworkNamespace[] = [];
  const close = async () => {
    await Promise.all(opened.splice(0).map((namespace) => namespace.close()));
  };
  const open = async () => {
    const namespace = await openNamespace();
    opened.push(namespace);
    for (const name of ['all', 'default']) set(namespace, `conf/${name}/rp_filter`, 0);
    // Or with an address those go that were added to its network later.
    set(namespace, 'conf/all/promote_secondaries', 1);
    return namespace;
  };
  try {
    const [daemon, ours] = [await open(), await open()];
    const inner = [`${ADDRESSES.daemonInner[4]}/32`, `${ADDRESSES.daemonInner[6]}/128`].map(onDevice('lo'));
    if (nat !== undefined) {
      const router = await open();
      const [inside, outside] = nat === 'ours' ? [ours, daemon] : [daemon, ours];
      const [hidden, open4] =
        nat === 'ours' ? [ADDRESSES.ours, ADDRESSES.daemon] : [ADDRESSES.daemon, ADDRESSES.ours];
      await connectNamespaces(outside, router, { aName: 'wan', bName: 'wan' });
      await connectNamespaces(inside, router, { aName: 'wan', bName: 'lan' });
      await configure(outside, [`${open4[4]}/24`].map(onDevice('wan')));
      await configure(router, [onDevice('wan')(`${hidden[4]}/24`), onDevice('lan')('10.5.0.1/24')]);
      await configure(inside, [
        onDevice('wan')(`${ADDRESSES.behindNat}/24`),
        'route add default via 10.5.0.1',
      ]);
      await configure(daemon, [...inner, ...(nat === 'ours' ? [`route add default via ${hidden[4]}`] : [])]);
      set(router, 'ip_forward', 1);
      await translate(router);
    } else {
      await connectNamespaces(daemon, ours, { aName: 'wan', bName: 'wan' });
      await configure(ours, [`${ADDRESSES.ours[4]}/24`, `${ADDRESSES.ours[6]}/64`].map(onDevice('wan')));
      await configure(daemon, [
        ...[`${ADDRESSES.daemon[4]}/24`, `${ADDRESSES.daemon[6]}/64`].map(onDevice('wan')),
        ...inner,
        // Where the answers to inner addresses of ours go is the policy's to say; a route has to be there.
        `route add default via ${ADDRESSES.ours[4]}`,
        `route add ::/0 via ${ADDRESSES.ours[6]}`,
      ]);
    }
    return {
      daemon,
      ours,
      daemonAddress: nat === 'daemon' ? { ...ADDRESSES.daemon, 4: ADDRESSES.behindNat } : ADDRESSES.daemon,
      ourAddress: nat === 'ours' ? { ...ADDRESSES.ours, 4: ADDRESSES.behindNat } : ADDRESSES.ours,
      inner: (address) => udpIn(daemon, address),
      move: (whose) =>
        configure({ daemon, ours }[whose], [
          `address add ${ADDRESSES.moved[whose]}/24 dev wan`,
          `address delete ${ADDRESSES[whose][4]}/24 dev wan`,
        ]),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Commands of `ip`, all in one process. */
function configure({ pid }: NetworkNamespace, lines: readonly string[]): Promise<void> {
  return ipBatch(lines, { netns: pid });
}

const onDevice = (device: string) => (address: string) =>
  `address add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`;

/** A setting of net.ipv4. */
function set(namespace: NetworkNamespace, name: string, value: number): void {
  within(namespace, () => writeFileSync(`/proc/sys/net/ipv4/${name}`, String(value)));
}

/** Translates the addresses of what leaves, and sends what comes for IKE inside; with nftables, or what there was before. */
async function translate(router: NetworkNamespace): Promise<void> {
  const nft = `table ip nat {
    chain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }
    chain pre { type nat hook prerouting priority -100; iifname "wan" udp dport { 500, 4500 } dnat to ${ADDRESSES.behindNat}; }
  }`;
  const legacy = ['iptables-legacy', '-t', 'nat', '-A'];
  try {
    await router.exec(['nft', nft]);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    await router.exec([...legacy, 'POSTROUTING', '-o', 'wan', '-j', 'MASQUERADE']);
    const ports = ['-p', 'udp', '-m', 'multiport', '--dports', '500,4500'];
    await router.exec([
      ...legacy,
      'PREROUTING',
      '-i',
      'wan',
      ...ports,
      '-j',
      'DNAT',
      '--to',
      ADDRESSES.behindNat,
    ]);
  }
}
