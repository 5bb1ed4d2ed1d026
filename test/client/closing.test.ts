import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HopNamespace } from '../../src/client/hop-namespace.ts';
import { serve } from '../../src/client/inside.ts';
import { KernelHops } from '../../src/client/kernel-hops.ts';
import { chooseBackend } from '../../src/client/kernel-support.ts';
import { follow } from '../../src/client/launcher.ts';
import type { ClientEvent } from '../../src/client/protocol.ts';
import { NativeError } from '../../src/native/native.ts';
import { native } from '../support/namespaces.ts';

const closed: string[] = [];
function closing(name: string) {
  return async () => {
    closed.push(name);
    throw new NativeError('EIO', `the ${name} cannot be closed`);
  };
}

vi.mock('../../src/client/surroundings.ts', () => ({
  prepareSurroundings: async () => {},
  addressesOf: () => [],
}));
vi.mock('../../src/client/resolver-configuration.ts', () => ({
  ResolverConfiguration: { open: async () => ({}) },
}));
vi.mock('../../src/client/data-plane.ts', () => ({
  openDataPlane: async () => ({ enter: async () => 'telescope0', close: closing('data plane') }),
}));
vi.mock('../../src/telescope/telescope.ts', () => ({
  openTelescope: async () => ({
    assigned: { dns: [] },
    hops: [{ mtu: 1280 }],
    closed: new Promise(() => {}),
    close: closing('telescope'),
  }),
}));

afterEach(() => {
  vi.restoreAllMocks();
});

describe('the process inside', () => {
  it('closes everything, also when one thing cannot be, and says so', async () => {
    const close = new AbortController();
    const events: ClientEvent[] = [];
    const host = {
      address: '192.0.2.1',
      entry: '192.0.2.2',
      mtu: 1500,
      ikePort: 500,
      encapsulatedPort: 4500,
      rawEsp: false,
    };
    const order = {
      type: 'extend',
      path: [],
      host,
      encapsulated: true,
      kernel: false,
      innerMtu: 1280,
      hopTimeout: 1000,
      tunInherited: false,
    } as const;
    const orders = {
      extend: Promise.resolve({ ...order, path: [] }),
      run: new Promise<never>(() => {}),
      takeFlows() {},
      close: close.signal,
      closeNow: close.signal,
    };
    const ended = serve(orders, (event) => {
      events.push(event);
      if (event.event === 'established') close.abort(new Error('asked'));
    });
    await ended;
    expect(closed).toEqual(['telescope', 'data plane']);
    const message = 'the telescope cannot be closed';
    expect(events.at(-1)).toEqual({ event: 'error', kind: 'system', message });
  });
});

describe('the launcher', () => {
  /** What comes of events and the end of the process inside, and how often it was cleaned up after it. */
  async function endAfter(...events: readonly ClientEvent[]) {
    const child = new EventEmitter();
    const cleanUp = vi.fn(async () => {});
    const outcome = follow(child as ChildProcess, () => {}, cleanUp);
    for (const event of events) child.emit('message', event);
    child.emit('close', null, 'SIGKILL');
    return { outcome: await outcome, cleanedUp: cleanUp.mock.calls.length };
  }
  const exited = { event: 'exited', status: 3 } as const;
  const error = { event: 'error', kind: 'system', message: 'the telescope cannot be closed' } as const;

  it('cleans up after a process that did not say that everything is closed, whatever it said before', async () => {
    expect(await endAfter(exited, { event: 'closed' })).toEqual({
      outcome: { kind: 'exited', status: 3 },
      cleanedUp: 0,
    });
    expect(await endAfter(exited)).toEqual({ outcome: { kind: 'exited', status: 3 }, cleanedUp: 1 });
    expect(await endAfter(exited, error)).toMatchObject({ outcome: { kind: 'failed' }, cleanedUp: 1 });
    expect(await endAfter({ event: 'ready' })).toMatchObject({ outcome: { kind: 'failed' }, cleanedUp: 1 });
    expect(await endAfter({ event: 'closed' })).toEqual({ outcome: { kind: 'closed' }, cleanedUp: 0 });
  });
});

describe('network namespaces', () => {
  /** How many of this process's descriptors are network namespaces. */
  function held(): number {
    return readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith('net:');
      } catch {
        return false; // that of the directory
      }
    }).length;
  }
  const failing = () => {
    throw new NativeError('EIO', 'no');
  };

  it('are let go of when the kernel has no IPsec', async () => {
    const before = held();
    vi.spyOn(native(), 'openXfrmNetlink').mockImplementation(failing);
    await expect(chooseBackend('xfrm', '192.0.2.1')).rejects.toThrow('no');
    expect(held()).toBe(before);
    const host = HopNamespace.ofThisProcess(native());
    expect(held()).toBe(before + 1);
    await expect(KernelHops.open(native(), host, 'host')).rejects.toThrow('no');
    expect(held()).toBe(before);
  });

  it('are let go of when there are no more of them', async () => {
    const before = held();
    const make = native().newNetworkNamespace;
    vi.spyOn(native(), 'newNetworkNamespace').mockImplementationOnce(make).mockImplementation(failing);
    await expect(chooseBackend('xfrm', '192.0.2.1')).rejects.toThrow('no');
    expect(held()).toBe(before);
  });
});
