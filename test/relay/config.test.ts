import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { parseDescriptor } from '../../src/descriptor/descriptor.ts';
import { loadRelayConfig, parseRelayConfig } from '../../src/relay/config.ts';
import { decodeKeyFile, encodeKeyFile } from '../../src/relay/key-file.ts';
import { ed25519Key } from '../support/signing-keys.ts';
import { relayConfigs, relayYaml } from '../support/sim-relays.ts';

const crypto = nodeProvider();
const key = ed25519Key(crypto, 99);
const listed = relayConfigs([
  { name: 'b', number: 2 },
  { name: 'c', number: 3 },
]);
const overlapping = relayConfigs([{ name: 'd', number: 4, pool: '10.1.128.0/17' }]).get('d')!;
const sixOnly = parseRelayConfig(
  'name: six\nkey: own.pem\naddress: { ip6: "2001:db8::6" }\npool: { ip6: "fd06::/48" }',
  'six.yaml',
  () => encodeKeyFile(ed25519Key(crypto, 66)),
  crypto,
);

const files: Record<string, string> = {
  'own.pem': encodeKeyFile(key),
  'b.yaml': listed.get('b')!.descriptor,
  'c.yaml': listed.get('c')!.descriptor,
  'd.yaml': overlapping.descriptor,
  'six.yaml': sixOnly.descriptor,
  'altered.yaml': listed.get('b')!.descriptor.replace('10.2.0.0/16', '10.22.0.0/16'),
  'forged.yaml': listed
    .get('c')!
    .descriptor.replace(/publicKey: .*/, `publicKey: ${Buffer.from(key.publicKey).toString('base64')}`),
  'cut.yaml': listed.get('b')!.descriptor.split('signature')[0],
  'ecdsa.pem': generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
    format: 'pem',
    type: 'pkcs8',
  }) as string,
};

function read(name: string): string {
  if (!(name in files)) throw new Error('ENOENT: no such file');
  return files[name];
}

const minimal = 'name: a\nkey: own.pem\naddress: { ip4: 192.0.2.1 }\npool: { ip4: 10.1.0.0/16 }\n';

function parse(text: string) {
  return parseRelayConfig(text, 'relay.yaml', read, crypto);
}

/** A row of a table: a napt exit of relay a, whose peer is b. */
function exitAddress(what: string, address: string, problem: string): [string, string, RegExp][] {
  const escaped = problem.replace(/[.()]/g, '\\$&');
  return [
    [
      `a napt exit with ${what}`,
      `${minimal}peers: [b.yaml]\nexit: { kind: napt, address: { ip4: ${address} } }`,
      new RegExp(`line 6, column \\d+: exit\\.address\\.ip4: ${address} ${escaped}`),
    ],
  ];
}

describe('relay.yaml', () => {
  it('has defaults for everything but name, key, address and pool', () => {
    const config = parse(minimal);
    expect(config).toMatchObject({
      own: { name: 'a', exit: false, overlayMtu: 1446, addresses: { ip4: '192.0.2.1' } },
      dns: [],
      peers: [],
      ikePort: 500,
      encapsulatedPort: 4500,
      encapsulatedOnly: false,
      maxClients: 1000,
      maxHalfOpen: 1000,
      maxHalfOpenPer: { address: 62, network: 250, peer: 250, client: 31 },
      cookieThreshold: 100,
      puzzles: { threshold: 500, difficulty: 12 },
    });
    expect(config.exit).toBeUndefined();
    expect(config.mtu).toBeUndefined();
  });

  it('takes the limits of half-open IKE SAs that are given, and shares of the maximum for the others', () => {
    expect(parse(`${minimal}maxHalfOpen: 64\nmaxHalfOpenPer: { peer: 20, client: 5 }\n`)).toMatchObject({
      maxHalfOpen: 64,
      maxHalfOpenPer: { address: 4, network: 16, peer: 20, client: 5 },
      cookieThreshold: 8,
      puzzles: { threshold: 32, difficulty: 12 },
    });
  });

  it('makes a descriptor that its readers accept', () => {
    const config = parse(`${minimal}exit: { kind: sockets, policy: ["accept *:53/udp"] }\n`);
    const descriptor = parseDescriptor(config.descriptor, crypto, 'a.yaml');
    expect(descriptor).toEqual(config.own);
    expect(descriptor).toMatchObject({ exit: true, exitPolicy: ['accept *:53/udp'] });
    expect(descriptor.publicKey).toEqual(key.publicKey);
  });

  it.each([
    ['plain ESP on 1500', '', 1446],
    ['ESP in UDP', 'encapsulation: udp', 1438],
    ['a smaller network', 'mtu: 1400', 1346],
    ['a figure of its own', 'overlayMtu: 1300', 1300],
  ])('derives the overlay MTU: %s', (_, line, mtu) => {
    expect(parse(`${minimal}${line}`).own.overlayMtu).toBe(mtu);
  });

  it('counts IPv6 headers when a peer can only be reached over IPv6', () => {
    const dual = `name: a
key: own.pem
address: { ip4: 192.0.2.1, ip6: "2001:db8::1" }
pool: { ip4: 10.1.0.0/16 }
`;
    expect(parse(`${dual}peers: [b.yaml]`).own.overlayMtu).toBe(1446);
    expect(parse(`${dual}peers: [b.yaml, six.yaml]`).own.overlayMtu).toBe(1426);
  });

  it.each<[string, string, RegExp]>([
    [
      'a source with more than all',
      `${minimal}maxHalfOpen: 10\nmaxHalfOpenPer: { client: 11 }\n`,
      /line 6, column \d+: maxHalfOpenPer\.client: 11 are more than all: maxHalfOpen is 10/,
    ],
    [
      'a source with nothing',
      `${minimal}maxHalfOpenPer:\n  network: 0\n`,
      /line 6, column \d+: maxHalfOpenPer\.network: must be 1 or more; write for example "network: 250"/,
    ],
    [
      'a source that there is not',
      `${minimal}maxHalfOpenPer: { host: 1 }\n`,
      /maxHalfOpenPer\.host: no such key; there are address, network, peer, client/,
    ],
    [
      'cookies that would never be asked for',
      `${minimal}cookieThreshold: 2000\n`,
      /line 5, column \d+: cookieThreshold: 2000 is never reached: maxHalfOpen is 1000/,
    ],
    [
      'puzzles before cookies',
      `${minimal}cookieThreshold: 50\npuzzleThreshold: 20\n`,
      /line 6, column \d+: puzzleThreshold: 20 is below the cookieThreshold of 50: puzzles come with cookies/,
    ],
    [
      'a puzzle that RFC 8019 excludes',
      `${minimal}puzzleDifficulty: 4\n`,
      /line 5, column \d+: puzzleDifficulty: must be 0, which leaves it to the initiator, or 8 to 28 bits; write for example/,
    ],
    [
      'an unknown key',
      `${minimal}pools: x`,
      /^relay\.yaml: line 5, column \d+: pools: no such key; there are name, .*pool/,
    ],
    [
      'an unknown nested key',
      minimal.replace('ip4: 10', 'ipv4: 10'),
      /line 4, column \d+: pool\.ipv4: no such key; there are ip4, ip6/,
    ],
    [
      'a missing name',
      minimal.replace('name: a\n', ''),
      /^relay\.yaml: name: is missing; write for example "name: relay-a"/,
    ],
    ['a missing pool', minimal.replace(/pool.*\n/, ''), /pool: is missing; write for example/],
    ['an empty file', '', /name: is missing/],
    ['YAML that is not', 'name: [a', /^relay\.yaml: line 1, column 9: /],
    [
      'a bad name',
      minimal.replace('name: a', 'name: "a b"'),
      /line 1, column \d+: name: must be 1 to 63 letters/,
    ],
    [
      'an address that is none',
      minimal.replace('192.0.2.1', '192.0.2.256'),
      /line 3, column \d+: address\.ip4: '192\.0\.2\.256' is not an/,
    ],
    [
      'a family in the wrong place',
      minimal.replace('192.0.2.1', '"::1"'),
      /address\.ip4: '::1' is not an IPv4 address; write for/,
    ],
    [
      'host bits in the pool',
      minimal.replace('10.1.0.0/16', '10.1.0.1/16'),
      /line 4, column \d+: pool\.ip4: '10\.1\.0\.1\/16' has host bits set/,
    ],
    ['no address', minimal.replace('{ ip4: 192.0.2.1 }', '{}'), /address: needs ip4, ip6 or both/],
    [
      'a pool with our own address',
      minimal.replace('192.0.2.1', '10.1.0.1'),
      /line 4, column 9: pool\.ip4: 10\.1\.0\.0\/16 contains the relay's own address, 10\.1\.0\.1: choose another/,
    ],
    [
      'a key file that is not there',
      minimal.replace('own.pem', 'no.pem'),
      /line 2, column \d+: key: 'no\.pem': ENOENT.*ike-telescope keygen/,
    ],
    [
      'a key file of another kind',
      minimal.replace('own.pem', 'b.yaml'),
      /key: 'b\.yaml': not the PEM .* Ed25519 private key/,
    ],
    [
      'a key of another algorithm',
      minimal.replace('own.pem', 'ecdsa.pem'),
      /key: 'ecdsa\.pem': not the PEM .* Ed25519 private key: it is of type ec; make one/,
    ],
    [
      'a peer that is not there',
      `${minimal}peers: [no.yaml]`,
      /line 5, column \d+: peers\.0: 'no\.yaml': ENOENT/,
    ],
    [
      'an altered descriptor',
      `${minimal}peers: [altered.yaml]`,
      /line 5, column 9: peers\.0: altered\.yaml: line \d+, column 1: signature: not by publicKey/,
    ],
    ['a peer listed twice', `${minimal}peers: [b.yaml, b.yaml]`, /'b' and 'b' have the same key/],
    [
      'a peer without a common family',
      `${minimal}peers: [six.yaml]`,
      /peers\.0: relay 'six' has no address of a family/,
    ],
    [
      'pools that overlap',
      `${minimal}peers: [d.yaml]`,
      /line 5, column 9: peers\.0: the pools of relays 'a' \(10\.1\.0\.0\/16\) and 'd' \(10\.1\.128\.0\/17\) overlap/,
    ],
    [
      'a port out of range',
      `${minimal}ikePort: 70000`,
      /line 5, column \d+: ikePort: .*write for example "ikePort: 500"/,
    ],
    [
      'a shared key that is a number',
      `${minimal}publicSharedKey: 1234`,
      /publicSharedKey: must be text; put it in quotes/,
    ],
    ['an exit of no kind', `${minimal}exit: { policy: ["accept *"] }`, /exit\.kind: is missing/],
    [
      'an exit of another kind',
      `${minimal}exit: { kind: nat }`,
      /exit\.kind: must be napt, kernel or sockets/,
    ],
    [
      'a napt exit without an address',
      `${minimal}exit: { kind: napt }`,
      /exit: a napt exit needs an address that the host itself does not use/,
    ],
    ...exitAddress('our own address', '192.0.2.1', "is the address of relay 'a': have another one routed"),
    ...exitAddress("a peer's address", '192.0.2.2', "is the address of relay 'b'"),
    ...exitAddress('an address of our pool', '10.1.0.9', "is in the pool of relay 'a' (10.1.0.0/16)"),
    ...exitAddress("an address of a peer's pool", '10.2.0.9', "is in the pool of relay 'b' (10.2.0.0/16)"),
    [
      'a napt exit of a family without clients',
      `${minimal}exit: { kind: napt, address: { ip6: "2001:db8::9" } }`,
      /line 5, column \d+: exit\.address\.ip6: 2001:db8::9 has no clients to leave from it: add pool\.ip6, or leave it out/,
    ],
    ...['8.0.0.0/16', '172.32.0.0/16', '10.0.0.0/7', '0.0.0.0/0'].map((block): [string, string, RegExp] => [
      `a pool that is not private: ${block}`,
      minimal.replace('10.1.0.0/16', block),
      /line 4, column \d+: pool\.ip4: '.*' is not a private block: choose one inside 10\.0\.0\.0\/8, .*write for example/,
    ]),
    [
      'an IPv6 pool that is not private',
      minimal.replace('ip4: 10.1.0.0/16', 'ip6: "2001:db8::/48"'),
      /pool\.ip6: '2001:db8::\/48' is not a private block: choose one inside fc00::\/7/,
    ],
    [
      'aliases that stand for too much',
      `a: &a [x, x, x, x, x, x, x, x, x, x]\n${Array.from({ length: 9 }, (_, i) => {
        const [from, to] = [String.fromCharCode(97 + i), String.fromCharCode(98 + i)];
        return `${to}: &${to} [${Array(10).fill(`*${from}`).join(', ')}]\n`;
      }).join('')}`,
      /^relay\.yaml: Excessive alias count/,
    ],
    [
      'an exit policy that is none',
      `${minimal}exit: { kind: sockets, policy: ["allow *"] }`,
      /exit\.policy\.0: rule 1: 'allow \*' is not a rule/,
    ],
    ['a backend that is none', `${minimal}backend: kernel`, /backend: must be userspace or xfrm/],
    ['an encapsulation that is none', `${minimal}encapsulation: tcp`, /encapsulation: can only be udp/],
    // A stranger's mistakes, as they are made.
    [
      'a misspelt key',
      `${minimal}peer: [b.yaml]`,
      /line 5, column 1: peer: no such key; .*; did you mean peers\?$/,
    ],
    ['a misspelt exit', `${minimal}exits: { kind: sockets }`, /exits: no such key; .*; did you mean exit\?$/],
    [
      'a key of other software',
      `${minimal}listen: 0.0.0.0`,
      /line 5, column 1: listen: no such key; there are name, operator, key, address, pool, (?!.*did you mean)/,
    ],
    [
      'a name that YAML takes for a number',
      minimal.replace('name: a', 'name: 12'),
      /line 1, column 1: name: must be text; put it in quotes/,
    ],
    [
      'an address without its family',
      minimal.replace('{ ip4: 192.0.2.1 }', '192.0.2.1'),
      /line 3, column 1: address: must be a block with keys of its own; write for example "address: \{ ip4: 192\.0\.2\.1 \}"/,
    ],
    [
      'peers that are no list',
      `${minimal}peers: b.yaml`,
      /line 5, column 1: peers: must be a list, such as \[a, b\]; write for example "peers: \[relay-b\.yaml\]"/,
    ],
    ['peers with nothing after them', `${minimal}peers:`, /line 5, column 1: peers: must be a list/],
    [
      'a number in words',
      `${minimal}maxClients: many`,
      /line 5, column 1: maxClients: must be a number; write for example "maxClients: 1000"/,
    ],
    ['no clients at all', `${minimal}maxClients: 0`, /maxClients: must be 1 or more/],
    ['a fraction', `${minimal}maxClients: 1.5`, /maxClients: must be a whole number/],
    [
      'an MTU that is too small',
      `${minimal}mtu: 500`,
      /line 5, column 1: mtu: must be 576 or more; write for example "mtu: 1500"/,
    ],
    ['an MTU that is too large', `${minimal}overlayMtu: 70000`, /overlayMtu: must be 65535 or less/],
    [
      'one port for both',
      `${minimal}ikePort: 4500`,
      /encapsulatedPort: is 4500, as ikePort is: they need a port each/,
    ],
    ['the same key twice', `${minimal}name: b`, /line 5, column 1: Map keys must be unique/],
    ['tabs', 'name: a\n\tkey: own.pem', /^relay\.yaml: line 2, column 1: /],
    ['a list where keys belong', '- name: a', /^relay\.yaml: must be a block with keys of its own/],
    [
      'a file of another kind',
      '{'.repeat(200_000),
      /^relay\.yaml: (is nested too deeply: is it the right file|line)/,
    ],
    [
      'a file that is far too long',
      `#${'x'.repeat(1 << 20)}\n`,
      /^relay\.yaml: has \d+ characters, at most 1048576 are read: is it the right file\?/,
    ],
    ['a key that would change every object', `${minimal}__proto__: { exit: 1 }`, /__proto__: no such key/],
    [
      'name servers of no exit',
      `${minimal}dns: [9.9.9.9]`,
      /line 5, column 1: dns: only an exit has its clients ask name servers; leave it out, or add exit/,
    ],
    [
      'a private name server',
      `${minimal}exit: { kind: sockets }\ndns: [9.9.9.9, 192.168.1.1]`,
      /line 6, column 16: dns\.1: 192\.168\.1\.1 is not a public address, and clients reach no others/,
    ],
    [
      'a name server by name',
      `${minimal}exit: { kind: sockets }\ndns: [dns.example]`,
      /dns\.0: 'dns\.example' is not an IPv4 or IPv6 address/,
    ],
    [
      'too many name servers',
      `${minimal}dns: [${Array(9).fill('9.9.9.9').join()}]`,
      /dns: must have 8 entries or less/,
    ],
    [
      'an address for an exit of sockets',
      `${minimal}exit: { kind: sockets, address: { ip4: 192.0.2.9 } }`,
      /line 5, column 24: exit\.address: an exit of kind sockets leaves from/,
    ],
    [
      'a rule after one that covers it',
      `${minimal}exit:\n  kind: sockets\n  policy:\n  - accept *\n  - reject *:25/tcp\n`,
      /line 9, column 5: exit\.policy\.1: 'reject \*:25\/tcp' never decides: .* rule 1, 'accept \*', matches all of this; put the narrower one first/,
    ],
    [
      'a rule that lets private addresses out',
      `${minimal}exit: { kind: sockets, policy: ["accept 192.168.0.0/24:80", "accept *"] }`,
      /exit\.policy\.0: 'accept 192\.168\.0\.0\/24:80' lets nothing out: private, local/,
    ],
    [
      'a policy that lets nothing out',
      `${minimal}exit: { kind: sockets, policy: ["reject *"] }`,
      /line 5, column 24: exit\.policy: lets nothing out: end the list with "accept \*"/,
    ],
    [
      'an empty policy',
      `${minimal}exit: { kind: sockets, policy: [] }`,
      /exit\.policy: must not be empty; write for example/,
    ],
    [
      'a rule that is no text',
      `${minimal}exit: { kind: sockets, policy: [25] }`,
      /exit\.policy\.0: must be text; put it in quotes/,
    ],
    [
      'a forged descriptor',
      `${minimal}peers: [b.yaml, forged.yaml]`,
      /line 5, column 17: peers\.1: forged\.yaml: line \d+, column 1: signature: not by publicKey .*get it again from its operator/,
    ],
    [
      'a private key for a descriptor',
      `${minimal}peers: [own.pem]`,
      /line 5, column 9: peers\.0: own\.pem: /,
    ],
    [
      'a descriptor that is cut short',
      `${minimal}peers: [cut.yaml]`,
      /peers\.0: cut\.yaml: .*signature: is missing/s,
    ],
  ])('refuses %s', (_, text, message) => {
    expect(() => parse(text)).toThrow(message);
  });

  it('refuses itself as a peer', () => {
    files['a.yaml'] = parse(minimal).descriptor;
    expect(() => parse(`${minimal}peers: [a.yaml]`)).toThrow(/relay 'a' cannot be a peer of its own/);
  });

  it('names every key that is wrong, not only the first', () => {
    expect(() => parse('nome: a\nkey: own.pem')).toThrow(
      /address: is missing[\s\S]*pool: is missing[\s\S]*nome: no such key/,
    );
  });
});

describe('loadRelayConfig', () => {
  const directory = mkdtempSync(join(tmpdir(), 'relay-config-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  it('reads files relative to the configuration', () => {
    writeFileSync(join(directory, 'a.pem'), encodeKeyFile(key), { mode: 0o600 });
    writeFileSync(join(directory, 'b.yaml'), files['b.yaml']);
    const file = join(directory, 'relay.yaml');
    writeFileSync(file, relayYaml({ name: 'a', number: 1 }, ['b']));
    expect(loadRelayConfig(file, crypto).peers.map(({ name }) => name)).toEqual(['b']);
  });

  it.each([0o640, 0o604, 0o620])('refuses a key file of mode %o', (mode) => {
    const [pem, file] = [join(directory, 'open.pem'), join(directory, 'open.yaml')];
    writeFileSync(pem, encodeKeyFile(key));
    chmodSync(pem, mode);
    writeFileSync(file, minimal.replace('own.pem', 'open.pem'));
    expect(() => loadRelayConfig(file, crypto)).toThrow(
      `line 2, column 1: key: 'open.pem': others than its owner may use it (mode ${mode.toString(8)}): chmod 600 ${pem}`,
    );
    chmodSync(pem, 0o400);
    expect(loadRelayConfig(file, crypto).own.name).toBe('a');
  });

  it('says which file it cannot read', () => {
    expect(() => loadRelayConfig(join(directory, 'nowhere.yaml'), crypto)).toThrow(
      /nowhere\.yaml: cannot be read/,
    );
  });
});

describe('key files', () => {
  it('round-trip', () => {
    expect(decodeKeyFile(encodeKeyFile(key), crypto)).toEqual(key);
  });
});
