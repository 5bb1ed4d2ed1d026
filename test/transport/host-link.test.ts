import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { NetworkNamespace } from '../../src/host/namespace.ts';
import { LinkError } from '../../src/link/link.ts';
import { packetFrom } from '../../src/link/packet.ts';
import type { CapturedFrame } from '../../src/native/native.ts';
import { HostLink, type HostLinkOptions, type InheritedSockets } from '../../src/transport/host-link.ts';
import { concat, utf8 } from '../../src/wire/bytes.ts';
import { nodeCommand } from '../support/compiled.ts';
import { native, udpIn, wire, within, withNamespaces } from '../support/namespaces.ts';
import { received } from '../support/received.ts';
import { until } from '../support/waiting.ts';

/** A host link whose sockets are in another namespace: opened there, handed over as file descriptors. */
function linkIn(namespace: NetworkNamespace, options: Omit<HostLinkOptions, 'mtu' | 'sockets'>): HostLink {
  const { address, ikePort = 500, encapsulatedPort = 4500, encapsulatedOnly } = options;
  const sockets = within(namespace, (): InheritedSockets => {
    const udp = {
      ike: native().openUdp(address, ikePort),
      encapsulated: native().openUdp(address, encapsulatedPort),
    };
    return encapsulatedOnly ? udp : { ...udp, rawEsp: native().openRawEsp(address).fd };
  });
  return new HostLink({ ...options, mtu: 1500, native: native(), sockets });
}

const esp = (text: string) => packetFrom(concat(Uint8Array.of(1, 2, 3, 4), utf8(text)));

describe('HostLink', () => {
  for (const family of [4, 6] as const) {
    it(`carries IKE and ESP over IPv${family}, plain and encapsulated, both ways (rule 72)`, () =>
      withNamespaces(2, async (a, b) => {
        const ends = await wire(a, b);
        const [addressA, addressB] = family === 4 ? [ends.a4, ends.b4] : [ends.a6, ends.b6];
        const capture = within(b, () => native().openCapture(ends.name));
        const frames: CapturedFrame[] = [];
        capture.start((frame) => frames.push(frame));
        // A is a client on ports of the kernel's choice, B a relay.
        const linkA = linkIn(a, { address: addressA, ikePort: 0, encapsulatedPort: 0 });
        const linkB = linkIn(b, { id: 'relay', address: addressB });
        const atA = received();
        const atB = received();
        const attachedA = await linkA.attach(atA);
        const attachedB = await linkB.attach(atB);
        for (const encapsulated of [false, true]) {
          const to = linkA.origin(addressB, encapsulated);
          expect(to).toEqual({
            linkId: 'host',
            address: addressB,
            port: encapsulated ? 4500 : 500,
            localAddress: addressA,
            localPort: to.localPort,
            encapsulated,
          });
          expect(to.localPort).toBeGreaterThan(1023);
          attachedA.sendIke(utf8('IKE_SA_INIT request'), to);
          const request = await until('the request', () => atB.ikeMessages.pop());
          expect(request).toEqual({
            bytes: utf8('IKE_SA_INIT request'),
            origin: {
              linkId: 'relay',
              address: addressA,
              port: to.localPort,
              localAddress: addressB,
              localPort: to.port,
              encapsulated,
            },
          });
          attachedB.sendIke(utf8('response'), request.origin);
          const response = await until('the response', () => atA.ikeMessages.pop());
          expect(response).toEqual({ bytes: utf8('response'), origin: to });

          attachedA.sendEsp([esp('first'), esp('second')], to);
          await until('the ESP packets', () => atB.espPackets.length === 2);
          const [first, second] = atB.espPackets.splice(0);
          expect([first.bytes, second.bytes]).toEqual(
            ['first', 'second'].map((text) => esp(text)).map(octets),
          );
          expect(first.origin).toEqual(
            encapsulated ? request.origin : { ...request.origin, port: 0, localPort: 0 },
          );
          attachedB.sendEsp([esp('back')], first.origin);
          const back = await until('the ESP packet back', () => atA.espPackets.pop());
          expect(back.bytes).toEqual(octets(esp('back')));
        }
        attachedA.sendKeepalive!(linkA.origin(addressB, true));
        await until('the keepalive', () => linkB.counters.keepalives === 1);
        expect([atB.ikeMessages, atB.espPackets]).toEqual([[], []]);
        const protocols = frames
          .filter(({ bytes }) => Buffer.from(bytes).includes('second'))
          .map(({ bytes }) => bytes[family === 4 ? 14 + 9 : 14 + 6]);
        expect(protocols).toEqual([50, 17]);
        expect(linkB.counters).toEqual({ sendFailures: 0, keepalives: 1, malformed: 0 });
        capture.close();
        await attachedA.close();
        await attachedB.close();
        await attachedB.close();
      }));
  }

  it('tells keepalives, IKE, ESP and rubbish on the encapsulated port apart (rule 72) (rule 75)', () =>
    withNamespaces(2, async (a, b) => {
      const { a4, b4 } = await wire(a, b);
      const link = linkIn(b, { address: b4, encapsulatedOnly: true });
      const at = received();
      const attached = await link.attach(at);
      const udp = udpIn(a, a4, 1234);
      for (const datagram of [
        [0xff],
        [],
        [0xfe],
        [1, 2, 3],
        [0, 0, 0, 0],
        [0, 0, 0, 0, 9],
        [0, 0, 0, 1, 9],
        [0xff, 0xff, 0xff, 0xff, 0xff],
      ]) {
        udp.send(Uint8Array.from(datagram), b4, 4500);
      }
      await until('all', () => at.espPackets.length === 2);
      expect(at.ikeMessages.map(({ bytes }) => [...bytes])).toEqual([[9]]);
      expect(at.espPackets.map(({ bytes }) => [...bytes])).toEqual([
        [0, 0, 0, 1, 9],
        [255, 255, 255, 255, 255],
      ]);
      expect(at.espPackets[0].origin).toMatchObject({ address: a4, port: 1234, encapsulated: true });
      expect(link.counters).toEqual({ sendFailures: 0, keepalives: 1, malformed: 4 });
      // On the plain port there is no marker: what starts with zeros is IKE all the same.
      udp.send(Uint8Array.of(0, 0, 0, 0, 7), b4, 500);
      expect([...(await until('IKE on 500', () => at.ikeMessages[1])).bytes]).toEqual([0, 0, 0, 0, 7]);
      udp.close();
      await attached.close();
    }));

  it('counts what cannot be sent, and goes on', () =>
    withNamespaces(2, async (a, b) => {
      const { a4, b4 } = await wire(a, b);
      const link = linkIn(a, { address: a4 });
      const attached = await link.attach(received());
      const nowhere = link.origin('192.0.2.1', false);
      attached.sendIke(utf8('no route'), nowhere);
      attached.sendIke(new Uint8Array(66_000), link.origin(b4, true));
      attached.sendEsp([packetFrom(new Uint8Array(1481))], link.origin(b4, false));
      attached.sendEsp([esp('no route')], { ...nowhere, encapsulated: true, port: 4500 });
      attached.sendIke(utf8('port 0'), { ...link.origin(b4, false), port: 0 });
      await until('the failures', () => link.counters.sendFailures === 5);
      const udp = udpIn(b, b4, 500);
      // To a closed port first: the ICMP error must not disturb what follows. 60,000 octets go in fragments.
      attached.sendIke(utf8('refused'), link.origin(b4, true));
      attached.sendIke(new Uint8Array(60_000).fill(5), link.origin(b4, false));
      await until('the message', () => udp.received.length === 1);
      expect(udp.received[0].length).toBe(60_000);
      expect(link.counters.sendFailures).toBe(5);
      udp.close();
      await attached.close();
      attached.sendIke(utf8('closed'), link.origin(b4, false));
      await until('the failure', () => link.counters.sendFailures === 6);
    }));

  it('opens its own sockets, and says which port cannot be opened and why', async () => {
    const options = { address: '127.0.0.1', mtu: 65_536, encapsulatedOnly: true, encapsulatedPort: 0 };
    const taken = createSocket('udp4').bind(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address();
    const attach = (more: Partial<HostLinkOptions>) =>
      new HostLink({ ...options, ...more }).attach(received());
    await expect(attach({ ikePort: port })).rejects.toThrow(
      new LinkError(
        `UDP port ${port} of 127.0.0.1 is in use: stop the other IKE daemon, or choose another port`,
      ),
    );
    await expect(attach({ ikePort: 0, address: '192.0.2.1' })).rejects.toThrow(
      /this host does not have that address/,
    );
    await expect(attach({ ikePort: 0, encapsulatedOnly: false })).rejects.toThrow(
      /needs the optional package koffi/,
    );
    const noAddress = attach({ ikePort: 0, encapsulatedOnly: false, native: native(), address: '192.0.2.1' });
    await expect(noAddress).rejects.toBeInstanceOf(LinkError);
    taken.close();
    await once(taken, 'close');
    // What a failed attach had opened is closed again.
    const link = new HostLink({ ...options, ikePort: port });
    const attached = await link.attach(received());
    expect(link.origin('127.0.0.1', false).localPort).toBe(port);
    await expect(attach({ ikePort: 0, encapsulatedPort: port })).rejects.toThrow(/is in use/);
    await attached.close();
    await (await link.attach(received())).close();
  });

  it('needs a capability for ports below 1024, and says so', () =>
    withNamespaces(1, async (namespace) => {
      const [program, ...args] = nodeCommand(
        `const { HostLink } = await import(SRC + '/transport/host-link.js');
         const { loadNative } = await import(SRC + '/native/load.js');
         const { native } = loadNative();
         const options = { address: '127.0.0.1', mtu: 1500, native };
         for (const more of [{}, { ikePort: 0, encapsulatedPort: 0 }]) {
           await new HostLink({ ...options, ...more }).attach({}).catch((error) => console.log(error.message));
         }
         for (const open of [() => native.openTun('t0'), () => native.openCapture('lo')]) {
           try { open(); } catch (error) { console.log(error.message); }
         }`,
      );
      const { stdout } = await namespace.exec([
        'setpriv',
        '--bounding-set=-all',
        '--inh-caps=-all',
        '--',
        program,
        ...args,
      ]);
      const lines = stdout.trim().split('\n');
      expect(lines[0]).toMatch(/^UDP port 500 of 127\.0\.0\.1 needs CAP_NET_BIND_SERVICE/);
      expect(lines[1]).toMatch(/^raw socket for ESP .* EPERM; it needs CAP_NET_RAW/);
      expect(lines[2]).toMatch(/^TUN device 't0': EPERM; opening a TUN device needs CAP_NET_ADMIN/);
      expect(lines[3]).toMatch(/^capture on 'lo': EPERM; it needs CAP_NET_RAW/);
      expect(lines.length).toBe(4);
    }));

  it('works in a process born in another network namespace, on inherited sockets', () =>
    withNamespaces(3, async (host, peer, born) => {
      const ends = await wire(host, peer);
      const peerLink = linkIn(peer, { address: ends.b4 });
      const at = received();
      const attached = await peerLink.attach(at);
      const sockets = within(host, () => [
        native().openUdp(ends.a4, 0),
        native().openUdp(ends.a4, 0),
        native().openRawEsp(ends.a4).fd,
      ]);
      const command = nodeCommand(
        `const { HostLink } = await import(SRC + '/transport/host-link.js');
         const { loadNative } = await import(SRC + '/native/load.js');
         const { packetFrom } = await import(SRC + '/link/packet.js');
         const [address, to] = process.argv.slice(1);
         const sockets = { ike: 3, encapsulated: 4, rawEsp: 5 };
         const link = new HostLink({ address, mtu: 1500, native: loadNative().native, sockets });
         const attached = await link.attach({
           ike: (message, origin) => attached.sendIke(message, origin),
           esp: (packets, origin) => {
             attached.sendEsp(packets, origin);
             if (packets[0].buffer[packets[0].start] === 255) setTimeout(() => attached.close(), 50);
           },
         });
         attached.sendIke(Uint8Array.of(1), link.origin(to, false));
         attached.sendIke(Uint8Array.of(2), link.origin(to, true));`,
        ends.a4,
        ends.b4,
      );
      const child = born.spawn(command, { stdio: ['ignore', 'inherit', 'inherit', ...sockets] });
      for (const fd of sockets) closeSync(fd);
      await until('both requests', () => at.ikeMessages.length === 2);
      for (const { bytes, origin } of at.ikeMessages.splice(0)) {
        attached.sendIke(concat(bytes, utf8('echo')), origin);
        const echo = await until('the echo', () => at.ikeMessages.pop());
        expect(echo).toEqual({ bytes: concat(bytes, utf8('echo')), origin });
      }
      attached.sendEsp([esp('plain')], peerLink.origin(ends.a4, false));
      const plain = await until('the ESP echo', () => at.espPackets.pop());
      expect(plain.bytes).toEqual(octets(esp('plain')));
      attached.sendEsp([packetFrom(new Uint8Array(9).fill(255))], peerLink.origin(ends.a4, false));
      if (child.exitCode === null) await once(child, 'exit');
      expect(child.exitCode).toBe(0);
      await attached.close();
    }));
});

function octets({ buffer, start, end }: ReturnType<typeof esp>): Uint8Array {
  return buffer.slice(start, end);
}
