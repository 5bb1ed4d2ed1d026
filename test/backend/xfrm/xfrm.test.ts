import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { XfrmError } from '../../../src/backend/xfrm/channel.ts';
import { blockOf, openXfrm } from '../../../src/backend/xfrm/xfrm.ts';
import { inNamespace } from '../../../src/host/command.ts';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import { parsePrefix } from '../../../src/wire/address.ts';
import { prefixSelector } from '../../../src/wire/traffic-selector.ts';
import { compiledSources, nodeCommand } from '../../support/compiled.ts';
import { native, withNamespaces } from '../../support/namespaces.ts';

beforeAll(() => void compiledSources(), 120_000);

const selector = (prefix: string) => prefixSelector(parsePrefix(prefix));

/** Traffic from a network to everywhere, blocked where it leaves. */
const from = (source: string) =>
  ({ directions: ['out'], source: [selector(source)], destination: [selector('0.0.0.0/0')] }) as const;

const open = ({ file }: NetworkNamespace) => openXfrm({ native: native(), namespace: file });

async function policies(namespace: NetworkNamespace): Promise<string> {
  return (await namespace.exec(['ip', 'xfrm', 'policy'])).stdout;
}

/** A process that has blocked some traffic, in a network namespace. */
async function blockingProcess(namespace: NetworkNamespace, source: string, { withoutFfi = false } = {}) {
  const [program, ...args] = inNamespace(
    nodeCommand(
      `const { openXfrm } = await import(SRC + '/backend/xfrm/xfrm.js');
       const { loadNative } = await import(SRC + '/native/load.js');
       const { prefixSelector } = await import(SRC + '/wire/traffic-selector.js');
       const { parsePrefix } = await import(SRC + '/wire/address.js');
       const selector = (prefix) => prefixSelector(parsePrefix(prefix));
       const xfrm = await openXfrm(${withoutFfi ? '{}' : 'loadNative()'});
       await xfrm.block([{ directions: ['out'], source: [selector('${source}')], destination: [selector('0.0.0.0/0')] }]);
       console.log(xfrm.deviceName(xfrm.allocate()));
       setInterval(() => {}, 1000);`,
    ),
    namespace.pid,
  );
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [name] = await once(child.stdout, 'data');
  return { child, device: String(name).trim() };
}

describe("an instance's share of the kernel's IPsec", () => {
  it('is what it has installed, and is gone when it is closed', () =>
    withNamespaces(1, async (namespace) => {
      const xfrm = await open(namespace);
      await xfrm.block([
        {
          directions: ['out', 'fwd'],
          source: [selector('10.1.0.0/16')],
          destination: [selector('0.0.0.0/0')],
        },
        { directions: ['in'], source: [selector('fd00:1::/64')], destination: [selector('::/0')] },
      ]);
      const shown = await policies(namespace);
      expect(shown.match(/dir out action block priority 2000/g)).toHaveLength(1);
      expect(shown.match(/dir fwd action block priority 2000/g)).toHaveLength(1);
      expect(shown).toMatch(/src fd00:1::\/64 dst ::\/0 \n\tdir in action block/);
      const numbers = [xfrm.allocate(), xfrm.allocate()];
      expect(new Set(numbers).size).toBe(2);
      for (const number of numbers) expect(number >>> 24).toBe(0xa7);
      expect(xfrm.deviceName(numbers[0])).toMatch(/^ikt\d+-\d+$/);
      await xfrm.close();
      expect(await policies(namespace)).toBe('');
    }));

  it('lets packets with some marks through what it blocks', () =>
    withNamespaces(1, async (namespace) => {
      const xfrm = await open(namespace);
      const mark = xfrm.allocate();
      await xfrm.block([{ ...from('10.1.0.0/16'), directions: ['fwd'], except: [mark] }]);
      const shown = await policies(namespace);
      expect(shown.match(/dir fwd action block priority 2000/g)).toHaveLength(1);
      const hexadecimal = mark.toString(16);
      const exception = `dir fwd priority 1500 ptype main \\n\tmark 0x${hexadecimal}/0xffffffff \\n.*\\n.*\\n\t\tlevel use`;
      expect(shown).toMatch(new RegExp(exception));
      await xfrm.close();
      expect(await policies(namespace)).toBe('');
    }));

  it('has what else instances left removed once they are gone, and no sooner', () =>
    withNamespaces(1, async (namespace) => {
      const removed: number[] = [];
      const live = await open(namespace);
      const number = live.allocate();
      expect(live.prefix).toBe(`ikt${blockOf(number)}`);
      const blocks = async () => [blockOf(number)!, 17];
      const remains = { blocks, remove: async (block: number) => void removed.push(block) };
      const again = () => openXfrm({ native: native(), namespace: namespace.file, remains });
      const other = await again();
      expect(removed).toEqual([17]);
      await other.close();
      await live.close();
      await (await again()).close();
      expect(removed).toEqual([17, blockOf(number), 17]);
    }));

  it('is refused by the kernel with what is wrong', () =>
    withNamespaces(1, async (namespace) => {
      const xfrm = await open(namespace);
      const again = xfrm.block([from('10.1.0.0/16'), from('10.1.0.0/16')]);
      await expect(again).rejects.toThrow(XfrmError);
      await expect(again).rejects.toThrow('the kernel refuses to add a policy: EEXIST; there is one already');
      await xfrm.close();
    }));

  it("is not another's: neither a stranger's nor that of another instance", () =>
    withNamespaces(1, async (namespace) => {
      await namespace.exec(
        'ip xfrm policy add dir out src 10.9.0.0/16 dst 0.0.0.0/0 action block'.split(' '),
      );
      const own = 'tmpl proto esp reqid 77 mode tunnel';
      await namespace.exec(
        `ip xfrm policy add dir out src 10.8.0.0/16 dst 0.0.0.0/0 action block ${own}`.split(' '),
      );
      const strangers = await policies(namespace);
      const a = await open(namespace);
      await a.block([from('10.1.0.0/16')]);
      const b = await open(namespace);
      expect(a.deviceName(a.allocate())).not.toBe(b.deviceName(b.allocate()));
      await b.block([from('10.2.0.0/16')]);
      expect(await policies(namespace)).toContain('10.1.0.0/16');
      await a.close();
      expect(await policies(namespace)).toContain('10.2.0.0/16');
      await b.close();
      expect(await policies(namespace)).toBe(strangers);
    }));

  it('is removed by the next start when its process was killed, and not before', () =>
    withNamespaces(1, async (namespace) => {
      const dead = await blockingProcess(namespace, '10.1.0.0/16');
      const live = await blockingProcess(namespace, '10.2.0.0/16');
      await namespace.exec(['ip', 'link', 'add', dead.device, 'type', 'veth', 'peer', 'name', live.device]);
      dead.child.kill('SIGKILL');
      await once(dead.child, 'exit');
      expect(await policies(namespace)).toContain('10.1.0.0/16');
      await (await open(namespace)).close();
      const shown = await policies(namespace);
      expect(shown).not.toContain('10.1.0.0/16');
      expect(shown).toContain('10.2.0.0/16');
      // Its device is gone too, and took the other end of this pair along.
      expect((await namespace.exec(['ip', '-json', 'link', 'show'])).stdout).not.toContain(dead.device);
      live.child.kill('SIGKILL');
      await once(live.child, 'exit');
      await (await open(namespace)).close();
      expect(await policies(namespace)).toBe('');
    }));

  it('is in the namespace that was asked for, and leaves nothing of itself in ours', () =>
    withNamespaces(1, async (namespace) => {
      const xfrm = await open(namespace);
      const claim = ' 0000A77F:'; // 127.167.0.0
      expect(readFileSync('/proc/thread-self/net/udp', 'utf8')).not.toContain(claim);
      const sockets = async () => (await namespace.exec(['cat', '/proc/self/net/udp'])).stdout;
      expect(await sockets()).toContain(claim);
      await xfrm.close();
      expect(await sockets()).not.toContain(claim);
    }));

  it('can be had where the loopback interface is down, and by a process without FFI', () =>
    withNamespaces(1, async (namespace) => {
      await namespace.exec(['ip', 'link', 'set', 'lo', 'down']);
      await (await open(namespace)).close();
      await namespace.exec(['ip', 'link', 'set', 'lo', 'up']);
      const xfrm = await open(namespace);
      const { child, device } = await blockingProcess(namespace, '10.1.0.0/16', { withoutFfi: true });
      expect(device).toBe('ikt1-2');
      child.kill('SIGKILL');
      await once(child, 'exit');
      await xfrm.close();
    }));

  it('cannot be kept from us by a user who is not root', () =>
    withNamespaces(1, async (namespace) => {
      const first = await open(namespace);
      const sockets = (await namespace.exec(['cat', '/proc/self/net/udp'])).stdout;
      const port = Number.parseInt(/ 0000A77F:([0-9A-F]{4}) /.exec(sockets)![1], 16);
      await first.close();
      const script = `
        const refusals = new Set();
        for (let block = 0; block < 64; block++) {
          const name = '\\0ike-telescope/xfrm/' + block;
          require('net').createServer().listen(name.padEnd(108, '\\0')).on('error', () => {});
          require('dgram').createSocket('udp4').bind(${port}, '127.167.0.' + block).on('error', ({ code }) => refusals.add(code));
        }
        setTimeout(() => console.log(...refusals), 300);
        setTimeout(() => {}, 60_000);`;
      const user = ['setpriv', '--reuid', '65534', '--clear-groups', process.execPath, '-e', script];
      const child = namespace.spawn(user, { stdio: ['ignore', 'pipe', 'inherit'] });
      expect(String((await once(child.stdout!, 'data'))[0])).toBe('EACCES\n');
      await (await open(namespace)).close();
    }));

  it('is one of 64', () =>
    withNamespaces(1, async (namespace) => {
      const all = [];
      for (let count = 0; count < 64; count++) all.push(await open(namespace));
      await expect(open(namespace)).rejects.toThrow('64 instances use the kernel');
      for (const xfrm of all) await xfrm.close();
      await (await open(namespace)).close();
    }));

  it('is opened although what another has left vanishes meanwhile', () =>
    withNamespaces(1, async (namespace) => {
      await namespace.exec('ip link add ikt17-1 type veth peer name other'.split(' '));
      const remains = {
        async blocks() {
          await namespace.exec(['ip', 'link', 'delete', 'ikt17-1']);
          return [];
        },
        async remove() {},
      };
      await (await openXfrm({ native: native(), namespace: namespace.file, remains })).close();
    }));
});
