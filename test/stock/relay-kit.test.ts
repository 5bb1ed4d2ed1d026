import { createPrivateKey, createPublicKey } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { overlaySelectors } from '../../src/relay/overlay-selectors.ts';
import { overlayBlocks, overlayPlans } from '../../src/stock/overlay-plan.ts';
import { relayKit } from '../../src/stock/relay-kit.ts';
import { prefixSelector } from '../../src/wire/traffic-selector.ts';
import { kitConfig } from './kit-configs.ts';

const KEY = 'publicSharedKey: "any\\"body"';
const PEERS = 'peers: [2.yaml, 3.yaml]';

function kit(...lines: readonly string[]): Readonly<Record<string, string>> {
  const files = relayKit(kitConfig(1, lines), {
    daemon: { name: 'strongswan' },
    firewall: 'iptables',
    where: 'relay.yaml',
  });
  return Object.fromEntries(files.map(({ path, text }) => [path, text]));
}

/** The sections of a configuration of strongSwan, without comments. */
type Section = { [key: string]: string | Section };

function parseSections(text: string): Section {
  const stack: Section[] = [{}];
  for (const line of text
    .replace(/^\s*#.*$/gm, '')
    .split('\n')
    .map((line) => line.trim())) {
    const top = stack[stack.length - 1];
    const [, name, value] = /^(\S+) = (.*)$/.exec(line) ?? [];
    const inline = /^(\S+) \{ (\S+) = (\S+) \}$/.exec(line);
    if (inline !== null) top[inline[1]] = { [inline[2]]: inline[3] };
    else if (name !== undefined) top[name] = value;
    else if (line.endsWith('{')) {
      const section: Section = {};
      top[line.slice(0, -1).trim()] = section;
      stack.push(section);
    } else if (line === '}') stack.pop();
    else expect(line).toBe('');
  }
  expect(stack).toHaveLength(1);
  return stack[0];
}

const swanctl = (...lines: readonly string[]) =>
  parseSections(kit(...lines)['swanctl/conf.d/ike-telescope.conf']);

const EXIT = 'exit: { kind: kernel }';

describe('strongSwan', () => {
  it('gives clients of the public key an address, as many as come, and neither MOBIKE nor anything narrower', () => {
    expect(swanctl(KEY)).toEqual({
      connections: {
        'ike-telescope': expect.objectContaining({
          version: '2',
          local_addrs: '192.0.2.1, 2001:db8::1',
          remote_addrs: '%any',
          mobike: 'no',
          unique: 'never',
          pools: 'ike-telescope-ip4, ike-telescope-ip6',
          local: { auth: 'pubkey', pubkeys: 'ike-telescope.pem', id: `"@#${kitConfig(1).own.keyId}"` },
          remote: { auth: 'psk', id: 'keyid:anonymous' },
          children: {
            'ike-telescope': expect.objectContaining({
              local_ts: '0.0.0.0/0, ::/0',
              remote_ts: 'dynamic',
              copy_ecn: 'no',
              copy_dscp: 'no',
            }),
          },
        }),
      },
      pools: {
        'ike-telescope-ip4': { addrs: '10.1.0.0/16' },
        'ike-telescope-ip6': { addrs: 'fd01::/48' },
      },
      secrets: {
        'ike-telescope': {
          secret: `0s${Buffer.from('any"body').toString('base64')}`,
          id: 'keyid:anonymous',
        },
      },
    });
  });

  it('proposes and accepts what clients propose, and replaces SAs when they do', () => {
    const { connections } = swanctl(KEY) as { connections: { 'ike-telescope': Section } };
    const { children, ...connection } = connections['ike-telescope'];
    expect(connection).toMatchObject({
      proposals:
        'aes256gcm16-aes128gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512-x25519-ecp256-modp2048,' +
        'aes256-aes128-sha256-prfsha256-prfsha384-prfsha512-x25519-ecp256-modp2048',
      rekey_time: '7200s',
      over_time: '3600s',
      rand_time: '3600s',
      dpd_delay: '60s',
    });
    expect((children as Section)['ike-telescope']).toMatchObject({
      esp_proposals: 'aes256gcm16-aes128gcm16-chacha20poly1305-esn-noesn,aes256-aes128-sha256-esn-noesn',
      rekey_time: '3600s',
      life_time: '5400s',
      rand_time: '1800s',
    });
  });

  it('keeps an overlay with each peer, of exactly the addresses and pools of both, by the mark of its device', () => {
    const { connections } = swanctl(KEY, PEERS) as { connections: Record<string, Section> };
    expect(Object.keys(connections)).toEqual([
      'ike-telescope',
      'ike-telescope-overlay1',
      'ike-telescope-overlay2',
    ]);
    expect(connections['ike-telescope-overlay2']).toMatchObject({
      local_addrs: '192.0.2.1',
      remote_addrs: '192.0.2.3',
      mobike: 'no',
      remote: { auth: 'pubkey', pubkeys: 'ike-telescope-overlay2.pem', id: `"@#${kitConfig(3).own.keyId}"` },
      children: {
        'ike-telescope-overlay2': {
          local_ts: '192.0.2.1/32, 10.1.0.0/16, 2001:db8::1/128, fd01::/48',
          remote_ts: '192.0.2.3/32, 10.3.0.0/16, 2001:db8::3/128, fd03::/48',
          mark_in: '729602',
          mark_out: '729602',
          start_action: 'trap',
          copy_ecn: 'no',
          copy_dscp: 'no',
        },
      },
    });
    expect(kit(KEY, PEERS)['ike-telescope-network']).toContain(
      '  ip link add overlay2 type vti local 192.0.2.1 remote 192.0.2.3 key 729602\n' +
        '  ip link set overlay2 mtu 1446 up\n' +
        '  ip -4 route add 10.3.0.0/16 dev overlay2 src 192.0.2.1\n' +
        '  ip -4 route add 192.0.2.3 dev overlay2 table 7296\n' +
        '  ip -6 route add fd03::/48 dev overlay2 src 2001:db8::1\n' +
        '  ip -6 route add 2001:db8::3 dev overlay2 table 7296\n',
    );
  });

  it.each([
    ['both families', []],
    ['IPv6 alone', ['address: { ip6: "2001:db8::1" }', 'pool: { ip6: "fd01::/48" }']],
    ['a relay without a pool of IPv4', ['pool: { ip6: "fd01::/48" }']],
  ])('has overlays with the selectors that relays of ours insist on: %s', (_, lines) => {
    const config = kitConfig(1, [...lines, PEERS]);
    overlayPlans(config).forEach((plan, index) => {
      const { local, remote } = overlayBlocks(plan);
      expect({ local: local.map(prefixSelector), remote: remote.map(prefixSelector) }).toEqual(
        overlaySelectors(config.own, config.peers[index]),
      );
    });
  });

  it('crosses IPv6 where the relays have no IPv4 in common', () => {
    const files = kit(KEY, PEERS, 'address: { ip6: "2001:db8::1" }', 'pool: { ip6: "fd01::/48" }');
    expect(files['ike-telescope-network']).toContain(
      'ip link add overlay1 type vti6 local 2001:db8::1 remote 2001:db8::2 key 729601\n',
    );
    expect(files['ike-telescope-network']).not.toContain('ip -4');
  });

  it('tells the daemon to leave routes and packets alone, and how many half-open IKE SAs there may be', () => {
    const conf = kit(KEY, 'cookieThreshold: 0', 'maxHalfOpen: 200')['strongswan.d/ike-telescope.conf'];
    expect(parseSections(conf)).toMatchObject({
      charon: {
        install_routes: 'no',
        send_vendor_id: 'no',
        cookie_threshold: '1',
        init_limit_half_open: '200',
        block_threshold: '12',
        plugins: {
          forecast: { load: 'no' },
          connmark: { load: 'no' },
          'bypass-lan': { load: 'no' },
          'kernel-libipsec': { load: 'no' },
        },
      },
    });
  });

  it('has the keys as files: its own, and those of peers', () => {
    const files = kit(KEY, PEERS);
    const own = createPrivateKey(files['swanctl/private/ike-telescope.pem']);
    const spki = (key: ReturnType<typeof createPublicKey>) =>
      new Uint8Array(key.export({ format: 'der', type: 'spki' }));
    expect(spki(createPublicKey(own))).toEqual(kitConfig(1).own.publicKey);
    for (const [file, number] of Object.entries({ '': 1, '-overlay1': 2, '-overlay2': 3 })) {
      const key = createPublicKey(files[`swanctl/pubkey/ike-telescope${file}.pem`]);
      expect(spki(key)).toEqual(kitConfig(number).own.publicKey);
    }
  });

  it('gives name servers to the clients of their family', () => {
    expect(swanctl(KEY, EXIT, 'dns: [9.9.9.9, "2620:fe::9", 9.9.9.10]').pools).toEqual({
      'ike-telescope-ip4': { addrs: '10.1.0.0/16', dns: '9.9.9.9, 9.9.9.10' },
      'ike-telescope-ip6': { addrs: 'fd01::/48', dns: '2620:fe::9' },
    });
  });

  it('says what it cannot do, and how clients name it', () => {
    const text = kit(KEY, 'exit: { kind: sockets }', 'maxClients: 7')['swanctl/conf.d/ike-telescope.conf'];
    const [head] = text.split('\n\nconnections');
    expect(head.split('\n').every((line) => line.startsWith('#'))).toBe(true);
    expect(head).toContain('#   - descriptor: relay-1.yaml\n#     publicSharedKey: "any\\"body"\n');
    for (const words of ['NULL authentication', 'maxClients (7)', 'puzzles', 'TTL', 'exit.kind sockets'])
      expect(head).toContain(words);
  });

  it.each([
    ['no public key', [], /relay\.yaml: publicSharedKey: is missing;.*publicSharedKey: anonymous/],
    ['no raw ESP', [KEY, 'encapsulation: udp'], /relay\.yaml: encapsulation: .*leave the key out/],
    ['other ports', [KEY, 'ikePort: 501'], /relay\.yaml: ikePort, encapsulatedPort: .*500 and 4500/],
  ])('refuses %s', (_, lines, message) => {
    expect(() => kit(...lines)).toThrow(message);
  });
});
