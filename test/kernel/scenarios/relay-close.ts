import { ip } from '../../../src/host/ip.ts';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import { pause } from '../../interop/transfer.ts';
import { until } from '../../support/waiting.ts';
import type { Application } from '../application.ts';
import { Captures } from '../captures.ts';
import { CheckError, expectEqual } from '../checks.ts';
import type { NetworkSpec } from '../network.ts';
import { openOurClient } from '../our-client.ts';
import { startOurRelay } from '../relays.ts';
import type { Scenario } from '../scenarios.ts';
import { openUdpIn } from '../udp.ts';
import { ADDRESSES, type World } from '../world.ts';

/** Milliseconds until a relay has ended, at a busy machine. */
const PATIENCE = 90_000;
/** Milliseconds between two answers of D. */
const INTERVAL = 5;

/**
 * What an exit of ours translates addresses for, by its kernel, ends with its clients and with itself: no answer finds its way to an
 * address of the pool any more, nor out in clear. The relay is of no use afterwards.
 */
export function relayClose(network: NetworkSpec): Scenario {
  return {
    title:
      'an exit of ours, kernel backend, forgets its clients, and closes under traffic: nothing goes in clear',
    network,
    async run({ world, relays, say }) {
      const { B } = relays;
      const enter = (client: 'S' | 'T') =>
        openOurClient(world, { client, path: [B.pathEntry], backend: 'userspace' });
      const first = await enter('T');
      const flow = await openFlow(world, first, 7_001);
      flow.close();
      expectEqual('whether B tracks a client', await tracks(world.nodes.B, first), true);
      await first.close();
      for (let attempt = 0; await tracks(world.nodes.B, first); attempt++) {
        if (attempt === 20) throw new CheckError('B does not forget a client that is gone');
        await pause(100);
      }
      say('a client is forgotten');
      await expectTaken(world, relays.C.pathEntry);
      const captures = new Captures(world);
      const before = await world.offences();
      const client = await enter('S');
      const traffic = await openFlow(world, client, 7_002);
      await B.process!.close();
      await pause(500);
      traffic.close();
      const seen = captures.linksWith(client.addresses[0]);
      if (seen.length > 0)
        throw new CheckError(`the client's address is to be seen on the link of ${seen.join(', ')}`);
      const { private: leaks } = await world.offences();
      expectEqual('how many private addresses the Internet has seen', leaks, before.private);
      captures.close();
      say('nothing has left in clear');
      await expectNothingLeft(world.nodes.B);
      await expectRefusal(world);
      return {};
    },
  };
}

/** B's host has an overlay to C already: a client there cannot have its packets from C told from those. */
async function expectTaken(world: World, entry: object): Promise<void> {
  const failure = await openOurClient(world, { client: 'B', path: [entry], backend: 'xfrm' })
    .then(() => undefined)
    .catch((error: Error) => error.message);
  if (failure === undefined || !failure.includes('apart'))
    throw new CheckError(`a client of the kernel on B's host enters at C: ${failure}`);
}

/** D answers one datagram of a client's until it is told not to. Resolves when the client gets it. */
async function openFlow(world: World, client: Application, port: number): Promise<{ close(): void }> {
  let received = 0;
  const [own] = client.addresses;
  const server = openUdpIn(world.nodes.D.pid, ADDRESSES.D.ip4, port, (_, source) => {
    timer ??= setInterval(() => server.send(Uint8Array.of(1), source.address, source.port), INTERVAL);
  });
  let timer: ReturnType<typeof setInterval> | undefined;
  const socket = openUdpIn(client.pid, own, port, () => void received++);
  socket.send(Uint8Array.of(1), ADDRESSES.D.ip4, port);
  await until('answers of D', () => received > 10);
  return {
    close() {
      clearInterval(timer);
      for (const end of [server, socket]) end.close();
    },
  };
}

async function tracks(relay: NetworkNamespace, { addresses: [address] }: Application): Promise<boolean> {
  const { stdout } = await relay.exec(['cat', '/proc/net/nf_conntrack']);
  return stdout.includes(`src=${address} `);
}

async function expectNothingLeft({ exec }: NetworkNamespace): Promise<void> {
  for (const [command, trace] of [
    ['ip link', 'ikt'],
    ['ip rule', '1670'],
    ['ip xfrm policy', 'src'],
    ['ip xfrm state', 'src'],
    ['iptables-legacy-save', 'ikt'],
  ]) {
    const { stdout } = await exec(command.split(' '));
    if (stdout.includes(trace)) throw new CheckError(`a relay that has closed has left something: ${stdout}`);
  }
}

/** It does not start where its devices would take the packets of somebody else's tunnel. */
async function expectRefusal(world: World): Promise<void> {
  const netns = world.nodes.B.pid;
  const between = ['src', ADDRESSES.D.ip4, 'dst', ADDRESSES.B.ip4];
  const esp = ['proto', 'esp', 'spi', '0x1234', 'reqid', '7', 'mode', 'tunnel'];
  const key = ['aead', 'rfc4106(gcm(aes))', `0x${'01'.repeat(20)}`, '128'];
  await ip(['xfrm', 'state', 'add', ...between, ...esp, ...key], { netns });
  const failure = await startOurRelay(world, 'B')
    .overlaysUp(1, PATIENCE)
    .catch((error: Error) => error.message);
  if (failure === undefined || !failure.includes('another program has an IPsec tunnel'))
    throw new CheckError(`B has not refused to take another's packets: ${failure}`);
  const { stdout } = await ip(['xfrm', 'state'], { netns });
  if (!stdout.includes('0x00001234')) throw new CheckError(`B has taken the other's SA away: ${stdout}`);
}
