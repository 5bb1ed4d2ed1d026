import { spawnSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { keyId } from '../../src/descriptor/descriptor.ts';
import { parseRelayConfig } from '../../src/relay/config.ts';
import { decodeKeyFile, encodeKeyFile } from '../../src/relay/key-file.ts';
import { compiledSources } from '../support/compiled.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ike-telescope-cli-'));
  compiledSources();
}, 60_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function telescope(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(compiledSources(), 'cli/main.js'), ...args],
    { cwd: directory, encoding: 'utf8', env: { ...process.env, DEBUG: '' } },
  );
  return { status, stdout, stderr };
}

function file(name: string, text: string): string {
  writeFileSync(join(directory, name), text);
  return name;
}

describe('ike-telescope', () => {
  it('prints the version of the package', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect(telescope('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('does not mind that nobody reads what it prints', () => {
    const line = [process.execPath, join(compiledSources(), 'cli/main.js'), 'extend', '--help'];
    const { stderr } = spawnSync('sh', ['-c', '"$@" | true', 'sh', ...line], { encoding: 'utf8' });
    expect(stderr).toBe('');
  });

  it.each([
    [['bogus'], "unknown command 'bogus'"],
    [['extend'], "required option '--path <file>' not specified"],
    [['extend', '--path', 'x', '--inner-mtu', '100'], 'from 576 to 65535'],
    [['probe', 'example.org'], 'example.org'],
    [['probe', '192.0.2.1', '--public-key', 'AAAA'], 'in base64'],
    [['relay-config', '--for', 'windows', '--config', 'x'], 'strongswan'],
  ])('refuses %j with one line and status 64', (args, message) => {
    const { status, stdout, stderr } = telescope(...args);
    expect(stderr).toMatch(/^ike-telescope: [^\n]*\n$/);
    expect(stderr).toContain(message);
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' });
  });
});

describe('keygen', () => {
  it('writes a key that only its owner may read, and prints its public key id', () => {
    const { status, stdout } = telescope('keygen', '--out', 'relay.pem');
    const crypto = nodeProvider();
    const key = decodeKeyFile(readFileSync(join(directory, 'relay.pem'), 'utf8'), crypto);
    expect({ status, stdout }).toEqual({ status: 0, stdout: `key id: ${keyId(key.publicKey, crypto)}\n` });
    expect(statSync(join(directory, 'relay.pem')).mode & 0o777).toBe(0o600);
  });

  it('makes keys of other types, for what is not a relay', () => {
    const { stdout } = telescope('keygen', '--type', 'ecdsa-p256');
    expect(createPrivateKey(stdout).asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
  });

  it('writes the key alone to standard output', () => {
    const { stdout, stderr } = telescope('keygen');
    const crypto = nodeProvider();
    expect(stderr).toBe(`key id: ${keyId(decodeKeyFile(stdout, crypto).publicKey, crypto)}\n`);
  });

  it('does not overwrite a file', () => {
    file('precious', 'kept');
    const { status, stderr } = telescope('keygen', '--out', 'precious');
    expect({ status, stderr }).toEqual({
      status: 64,
      stderr:
        'ike-telescope: precious: there is such a file already, and it may be a key; choose another name\n',
    });
    expect(readFileSync(join(directory, 'precious'), 'utf8')).toBe('kept');
  });
});

describe('files', () => {
  it.each([
    [
      'a path without relays',
      'empty.yaml',
      'relays: []',
      /empty\.yaml: line 1, column 1: relays: .*at least one relay/,
    ],
    ['a path that is no YAML', 'bad.yaml', 'relays: [', /bad\.yaml: line \d+, column \d+/],
    [
      'a path with a descriptor that is none',
      'junk.yaml',
      'relays:\n  - { name: A }\n',
      /junk\.yaml: line 2, column 5: relays\.0\.version.*publicKey.*signature/s,
    ],
  ])('extend refuses %s', (_, name, text, message) => {
    file(name, text);
    const { status, stdout, stderr } = telescope('extend', '--path', name);
    for (const [index, line] of stderr.trimEnd().split('\n').entries()) {
      expect(line.replace(index === 0 ? 'ike-telescope: ' : '', '')).toMatch(new RegExp(`^${name}: `));
    }
    expect(stderr).toMatch(message);
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' });
  });

  it('extend --json reports the same error as an event', () => {
    const { status, stdout, stderr } = telescope('extend', '--path', 'missing.yaml', '--json');
    expect(JSON.parse(stdout)).toEqual({
      event: 'error',
      kind: 'usage',
      message: expect.stringMatching(/^missing\.yaml: cannot be read/),
    });
    expect({ status, stderr }).toEqual({ status: 64, stderr: '' });
  });

  it('relay refuses a configuration that is not there, or wrong', () => {
    expect(telescope('relay', '--config', 'missing.yaml')).toMatchObject({
      status: 64,
      stderr: expect.stringMatching(/^ike-telescope: missing\.yaml: cannot be read: ENOENT[^\n]*\n$/),
    });
    file('relay.yaml', 'name: a\nkey: relay.pem\naddress: { ip4: 192.0.2.1 }\n');
    const { status, stderr } = telescope('relay', '--config', 'relay.yaml');
    expect(stderr).toMatch(/^ike-telescope: relay\.yaml: .*pool/);
    expect(status).toBe(64);
  });

  it('relay prints its signed descriptor, which a path can name', () => {
    telescope('keygen', '--out', 'a.pem');
    file('a.yaml', 'name: a\nkey: a.pem\naddress: { ip4: 192.0.2.1 }\npool: { ip4: 10.1.0.0/16 }\n');
    const { status, stdout } = telescope('relay', '--config', 'a.yaml', '--descriptor');
    expect(status).toBe(0);
    file('descriptor.yaml', stdout);
    file('path.yaml', 'relays:\n  - descriptor: descriptor.yaml\n  - descriptor: descriptor.yaml\n');
    expect(telescope('extend', '--path', 'path.yaml').stderr).toContain("relay 'a' is already hop 1");
  });

  it('relay-config prints files without the private key, or writes them all', () => {
    telescope('keygen', '--out', 's.pem');
    const shared = 'publicSharedKey: anonymous\n';
    file('s.yaml', `name: s\nkey: s.pem\naddress: { ip4: 192.0.2.1 }\npool: { ip4: 10.1.0.0/16 }\n${shared}`);
    const command = ['relay-config', '--for', 'strongswan', '--config', 's.yaml'];
    const printed = telescope(...command);
    expect(printed).toMatchObject({ status: 0, stderr: '' });
    expect(printed.stdout).toMatch(/^# ==== \/etc\/swanctl\/conf\.d\/ike-telescope\.conf\n/);
    expect(printed.stdout).not.toContain('PRIVATE');
    const { status, stdout } = telescope(...command, '--out', 'router', '--firewall', 'iptables');
    const modes = stdout
      .trimEnd()
      .split('\n')
      .map((name) => [name, statSync(join(directory, name)).mode & 0o777]);
    expect({ status, modes: Object.fromEntries(modes) }).toEqual({
      status: 0,
      modes: {
        'router/swanctl/conf.d/ike-telescope.conf': 0o600,
        'router/strongswan.d/ike-telescope.conf': 0o644,
        'router/swanctl/private/ike-telescope.pem': 0o600,
        'router/swanctl/pubkey/ike-telescope.pem': 0o644,
        'router/ike-telescope-network': 0o755,
      },
    });
    const key = decodeKeyFile(
      readFileSync(join(directory, 'router/swanctl/private/ike-telescope.pem'), 'utf8'),
      nodeProvider(),
    );
    expect(telescope('relay', '--config', 's.yaml', '--descriptor').stdout).toContain(
      Buffer.from(key.publicKey).toString('base64'),
    );
  });

  it('relay-config wants an ECDSA key for libreswan, which has no other', () => {
    telescope('keygen', '--out', 'l.pem');
    telescope('keygen', '--type', 'ecdsa-p256', '--out', 'ecdsa.pem');
    file('l.yaml', 'name: l\nkey: l.pem\naddress: { ip4: 192.0.2.1 }\npool: { ip4: 10.1.0.0/16 }\n');
    const command = ['relay-config', '--for', 'libreswan', '--config', 'l.yaml'];
    const remedy =
      "make one with 'ike-telescope keygen --type ecdsa-p256 --out ecdsa.pem' and name it with --key\n";
    expect(telescope(...command)).toEqual({
      status: 64,
      stdout: '',
      stderr: `ike-telescope: libreswan has no Ed25519, which the key of relay.yaml is, and needs an ECDSA key: ${remedy}`,
    });
    expect(telescope(...command, '--key', 'l.pem').stderr).toContain(
      'unencrypted ECDSA private key of P-256; make one',
    );
    const { status, stdout } = telescope(...command, '--key', 'ecdsa.pem');
    expect(status).toBe(0);
    expect(stdout).toContain('\trightauth=null\n');
    expect(stdout).not.toContain('PRIVATE');
  });

  it('extend refuses a path of more relays than fit', () => {
    const crypto = nodeProvider();
    const relays = Array.from({ length: 9 }, (_, i) => {
      const key = encodeKeyFile(crypto.signatures.generate('ed25519'));
      const config = `name: r${i}\nkey: r.pem\naddress: { ip4: 192.0.2.${i} }\npool: { ip4: 10.${i}.0.0/16 }\n`;
      file(`r${i}.yaml`, parseRelayConfig(config, 'r.yaml', () => key, crypto).descriptor);
      return `  - descriptor: r${i}.yaml\n`;
    });
    file('long.yaml', `relays:\n${relays.join('')}`);
    expect(telescope('extend', '--path', 'long.yaml')).toEqual({
      status: 64,
      stdout: '',
      stderr: 'ike-telescope: long.yaml: a path has at most 8 relays, not 9\n',
    });
  });
});
