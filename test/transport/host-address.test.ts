import { describe, expect, it } from 'vitest';
import { LinkError } from '../../src/link/link.ts';
import { interfaceMtu, sourceAddress } from '../../src/transport/host-address.ts';
import { nodeCommand } from '../support/compiled.ts';
import { wire, withNamespaces } from '../support/namespaces.ts';

describe('host address', () => {
  it('is the one that the routes choose, without a packet', () =>
    withNamespaces(2, async (a, b) => {
      const first = await wire(a, b, 0, 1500);
      const second = await wire(a, b, 1, 1333);
      const script = `const { sourceAddress, interfaceMtu } = await import(SRC + '/transport/host-address.js');
         for (const remote of process.argv.slice(1)) {
           const source = await sourceAddress(remote).catch((error) => error.message);
           console.log(source, await interfaceMtu(source).catch(() => '-'));
         }`;
      const remotes = [first.b4, second.b4, first.b6, second.b6, '192.0.2.1', '2001:db8::1'];
      const { stdout } = await a.exec(nodeCommand(script, ...remotes));
      expect(stdout.trim().split('\n')).toEqual([
        `${first.a4} 1500`,
        `${second.a4} 1333`,
        `${first.a6} 1500`,
        `${second.a6} 1333`,
        'no route to 192.0.2.1 -',
        'no route to 2001:db8::1 -',
      ]);
    }));

  it('is refused when no interface has it', async () => {
    expect(await sourceAddress('127.0.0.1')).toBe('127.0.0.1');
    await expect(interfaceMtu('192.0.2.1')).rejects.toThrow(
      new LinkError('no interface of this host has the address 192.0.2.1'),
    );
  });
});
