import { expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { parseRelayConfig } from '../../src/relay/config.ts';
import { encodeKeyFile } from '../../src/relay/key-file.ts';
import { Relay } from '../../src/relay/relay.ts';
import { openTelescope } from '../../src/telescope/telescope.ts';
import { openUdp } from '../../src/telescope/udp.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { SimNetwork } from '../support/sim-network.ts';
import { EchoExit } from '../support/sim-telescope.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const NAMES = ['a', 'b', 'c'];
const CLIENT = '2001:db8:ffff::9';

it.each([
  {
    title: 'over IPv6 alone, outside and inside',
    inside: (_: number): string | undefined => undefined,
    pools: (number: number) => `ip6: "fd00:${number}::/48"`,
    family: undefined,
    mtus: [1426, 1350, 1274],
    sources: [/^2001:db8:ffff::9$/, /^fd00:1:/, /^fd00:2:/],
  },
  {
    title: 'over IPv6 outside, IPv4 in between, to an IPv6 address',
    inside: (number: number) => `10.99.0.${number}`,
    pools: (number: number) => `ip4: 10.${number}.0.0/16, ip6: "fd00:${number}::/48"`,
    family: 6 as const,
    mtus: [1426, 1370, 1314],
    sources: [/^2001:db8:ffff::9$/, /^10\.1\./, /^10\.2\./],
  },
])('is built $title', async ({ inside, pools, family, mtus, sources }) => {
  const crypto = nodeProvider();
  const clock = new VirtualClock();
  const network = new SimNetwork(clock);
  const files = new Map(
    NAMES.map((name) => [`${name}.pem`, encodeKeyFile(crypto.signatures.generate('ed25519'))]),
  );
  const configOf = (index: number, peers: readonly number[]) =>
    parseRelayConfig(
      [
        `name: ${NAMES[index]}`,
        `key: ${NAMES[index]}.pem`,
        `address: { ip6: "2001:db8:${index + 1}::1"${inside(index + 1) === undefined ? '' : `, ip4: ${inside(index + 1)}`} }`,
        `pool: { ${pools(index + 1)} }`,
        `peers: [${peers.map((peer) => `${NAMES[peer]}.yaml`).join()}]`,
        index === 2 ? 'exit: { kind: sockets }' : '',
      ].join('\n'),
      'relay.yaml',
      (name) => files.get(name)!,
      crypto,
    );
  for (const [index, name] of NAMES.entries()) files.set(`${name}.yaml`, configOf(index, []).descriptor);
  const configs = [configOf(0, [1]), configOf(1, [0, 2]), configOf(2, [1])];
  const client = network.host('s', CLIENT);
  network.join('s', 'a');
  network.join('a', 'b');
  network.join('b', 'c');
  const exit = new EchoExit();
  const relays = await Promise.all(
    configs.map((config, index) => {
      const { ip4, ip6 } = config.own.addresses;
      return Relay.open({
        config,
        crypto,
        clock,
        links: {
          ip6: network.host(NAMES[index], ip6!),
          // From nowhere is there a way to it.
          ...(ip4 !== undefined && { ip4: network.host(`${NAMES[index]}-inside`, ip4) }),
        },
        ...(index === 2 && { exit }),
      });
    }),
  );
  await clock.until(Promise.all(relays.map(({ ready }) => ready)));
  const path = configs.map(({ own }) => own);
  const telescope = await clock.until(openTelescope(client, path, { crypto, clock, family, innerMtu: 1200 }));
  expect(telescope.hops.map(({ mtu }) => mtu)).toEqual(mtus);
  for (const [index, { source }] of telescope.hops.entries()) expect(source).toMatch(sources[index]);
  expect(telescope.assigned.ip6?.address).toMatch(/^fd00:3:/);
  const udp = openUdp(telescope, 4_321);
  const answers: string[] = [];
  udp.onMessage((message) => answers.push(new TextDecoder().decode(message)));
  udp.send(new TextEncoder().encode('over IPv6'), { address: '2606:4700::80', port: 7 });
  await clock.advance(1_000);
  expect(answers).toEqual(['over IPv6']);
  const secret = Buffer.from(addressBytes(CLIENT));
  for (const [from, to] of [
    ['a', 'b'],
    ['b', 'c'],
  ]) {
    expect(network.eavesdropper(from, to).some(({ bytes }) => Buffer.from(bytes).includes(secret))).toBe(
      false,
    );
  }
  await clock.until(telescope.close());
  expect(relays.map((relay) => relay.state().clients.length)).toEqual([0, 0, 0]);
});
