import { mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tunObstacle } from '../../src/demo/prerequisites.ts';
import { runInUserNamespace } from '../../src/demo/user-namespace.ts';
import { startDemo } from './demo-process.ts';

describe('what the demo needs', () => {
  it('is named, with its Debian package, if it is not there', async () => {
    const demo = startDemo([], { env: { PATH: '/nonexistent' } });
    expect(await demo.ended).toBe(71);
    expect(demo.stderr()).toContain("- the program 'unshare' is not installed: apt install util-linux\n");
    expect(demo.stderr()).toContain('run the demo with --loopback');
  });

  it('is named in JSON', async () => {
    const demo = startDemo(['--json'], { env: { PATH: '/nonexistent' } });
    expect(await demo.ended).toBe(71);
    const { ok, mode, error } = JSON.parse(demo.stdout());
    expect([ok, mode]).toEqual([false, 'namespaces']);
    expect(error).toContain("the program 'nsenter' is not installed: apt install util-linux");
  });

  it('includes koffi', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'demo-test-'));
    const hook = join(directory, 'without-koffi.cjs');
    writeFileSync(
      hook,
      `const { Module } = require('node:module');
       const load = Module._load;
       Module._load = (name, ...rest) => {
         if (name === 'koffi') throw new Error("Cannot find module 'koffi'");
         return load(name, ...rest);
       };`,
    );
    const demo = startDemo([], { env: { NODE_OPTIONS: `--require ${hook}` } });
    expect(await demo.ended).toBe(71);
    expect(demo.stderr()).toContain('the optional package koffi cannot be loaded');
    expect(demo.stderr()).toContain('npm install koffi');
    rmSync(directory, { recursive: true });
  });

  it('includes the TUN device', () => {
    expect(tunObstacle('/dev/null')).toBeUndefined();
    expect(tunObstacle('/no/such')).toMatch(/^there is no \/no\/such: modprobe tun/);
    // Root may not write to it either.
    expect(tunObstacle('/proc/sys/kernel/osrelease')).toMatch(/^you may not open .*: chmod 0666/);
  });

  it('includes namespaces', async () => {
    const script =
      'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all "$@"';
    const demo = startDemo([], { wrapper: ['unshare', '-Ur', 'sh', '-c', script, 'sh'] });
    expect(await demo.ended).toBe(71);
    expect(demo.stderr()).toContain('run the demo as root, or allow user namespaces');
  });
});

describe('runInUserNamespace', () => {
  const script = (code: string) => ['-e', code, readlinkSync('/proc/self/ns/net')];

  it('makes us root of a network of our own, and passes the status on', async () => {
    const code = `const own = require('fs').readlinkSync('/proc/self/ns/net') !== process.argv[1];
      process.exit(process.getuid() === 0 && own ? 42 : 1)`;
    expect(await runInUserNamespace(script(code), new AbortController().signal)).toBe(42);
  });

  it('ends the script when it is asked to', async () => {
    const stop = new AbortController();
    const ended = runInUserNamespace(script('setTimeout(() => {}, 60_000)'), stop.signal);
    stop.abort();
    expect(await ended).toBe(143);
  });
});
