import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { run } from '../../src/host/command.ts';
import { ip, ipBatch } from '../../src/host/ip.ts';
import { openNamespace } from '../../src/host/namespace.ts';
import { missingPrograms } from '../../src/host/programs.ts';
import { nodeCommand } from '../support/compiled.ts';
import { wire, withNamespaces } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';

/** Network namespaces (their inode names) that some process is in. */
function namespacesInUse(): Set<string> {
  const found = new Set<string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      found.add(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {} // ended meanwhile
  }
  return found;
}

const alive = (pid: number) => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

describe('network namespace', () => {
  it('is new, has lo up, and is gone with its processes after close', async () => {
    const namespace = await openNamespace();
    const inode = readlinkSync(namespace.file);
    expect(inode).not.toBe(readlinkSync('/proc/self/ns/net'));
    const { stdout } = await namespace.exec(['ip', '-json', 'link', 'show']);
    const links = JSON.parse(stdout) as { ifname: string; flags: string[] }[];
    expect(links.find(({ ifname }) => ifname === 'lo')?.flags).toContain('UP');
    const child = namespace.spawn(['sleep', '1000']);
    await until('the child inside', () => readlinkSync(`/proc/${child.pid}/ns/net`) === inode);
    await namespace.close();
    await namespace.close();
    expect(child.signalCode).toBe('SIGKILL');
    expect(existsSync(`/proc/${namespace.pid}`)).toBe(false);
    expect(namespacesInUse()).not.toContain(inode);
  });

  it('is joined to another by a veth pair, with nothing in between', () =>
    withNamespaces(2, async (a, b) => {
      const before = (await ip(['-json', 'link', 'show'])).stdout;
      const { name } = await wire(a, b, 3, 1400);
      for (const end of [a, b]) {
        const { stdout } = await end.exec(['ip', '-json', 'link', 'show', name]);
        expect(JSON.parse(stdout)).toMatchObject([{ mtu: 1400, operstate: 'UP' }]);
      }
      expect((await ip(['-json', 'link', 'show'])).stdout).toBe(before);
      expect((await ip(['-json', 'route', 'show'], { netns: a.pid })).stdout).toContain('10.9.3.0/24');
    }));

  it('leaves no process and no namespace when its owner is killed', async () => {
    const [program, ...args] = nodeCommand(
      `const { openNamespace } = await import(SRC + '/host/namespace.js');
       const namespace = await openNamespace();
       const child = namespace.spawn(['sleep', '1000'], { stdio: 'ignore' });
       console.log(JSON.stringify([namespace.pid, child.pid]));
       setInterval(() => {}, 1000);`,
    );
    const owner = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(owner.stdout, 'data');
    const pids: number[] = JSON.parse(line);
    const inode = readlinkSync(`/proc/${pids[0]}/ns/net`);
    await until('the child inside', () => readlinkSync(`/proc/${pids[1]}/ns/net`) === inode);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    await until('the processes to end', () => !pids.some(alive));
    expect(namespacesInUse()).not.toContain(inode);
  });

  it('does not keep the process that opened it alive', async () => {
    const [program, ...args] = nodeCommand(
      `const { openNamespace } = await import(SRC + '/host/namespace.js');
       console.log((await openNamespace()).pid);`,
    );
    const owner = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(owner.stdout, 'data');
    if (owner.exitCode === null) await once(owner, 'exit');
    expect(owner.exitCode).toBe(0);
    await until('the holder to end', () => !alive(Number(line)));
  });
});

describe('host commands', () => {
  it('fail with the command and what it said', async () => {
    await expect(ip(['link', 'show', 'nowhere'])).rejects.toThrow(
      /^'ip link show nowhere' ended with 1: Device "nowhere" does not exist/,
    );
    await withNamespaces(1, async ({ pid }) => {
      await ipBatch(['link add d0 type veth peer name d1', 'link set d0 mtu 1333'], { netns: pid });
      expect((await ip(['link', 'show', 'd0'], { netns: pid })).stdout).toContain('mtu 1333');
      const failing = ipBatch(['link set d0 up', 'link set nowhere up'], { netns: pid });
      await expect(failing).rejects.toThrow(/Cannot find device "nowhere"[\s\S]*-:2/);
    });
  });

  it('name the Debian package of a program that is not installed', async () => {
    expect(missingPrograms(['ip', 'unshare', 'nsenter', 'setpriv', 'perl'])).toEqual([]);
    await expect(run(['no-such-program'])).rejects.toThrow(
      /^the program 'no-such-program' is not installed$/,
    );
    const [program, ...args] = nodeCommand(
      `const { openNamespace } = await import(SRC + '/host/namespace.js');
       await openNamespace().catch((error) => console.log(error.message));`,
    );
    const child = spawn(program, args, { env: { PATH: '/nowhere' }, stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (text) => {
      said += text;
    });
    await once(child, 'close');
    expect(said).toBe("the program 'unshare' is not installed: apt install util-linux\n");
  });
});
