import { describe, expect, it } from 'vitest';
import { encodeDump, encodeRequest } from '../../src/backend/xfrm/messages.ts';
import type { XfrmPolicy } from '../../src/backend/xfrm/model.ts';
import { NetlinkType, parseMessages } from '../../src/backend/xfrm/netlink.ts';
import { NativeError, type NetlinkSocket } from '../../src/native/native.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { native, within, withNamespaces } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';

const NEWPOLICY = 0x13;
/** XFRMNLGRP_POLICY. */
const POLICY_EVENTS = 1 << 3;

function policy(number: number): XfrmPolicy {
  const any = { port: 0, mask: 0 };
  return {
    direction: 'out',
    selector: {
      source: parsePrefix(`10.${number >> 8}.${number & 255}.0/24`),
      destination: parsePrefix('0.0.0.0/0'),
      protocol: 0,
      sourcePorts: any,
      destinationPorts: any,
    },
    action: 'block',
    priority: 1,
    template: { reqid: number, spi: 0 },
  };
}

function add(socket: NetlinkSocket, number: number): void {
  socket.send(encodeRequest({ kind: 'add-policy', policy: policy(number) }, number));
  const [answer] = parseMessages(socket.receive() as Uint8Array);
  expect([answer.type, answer.sequence, answer.body[0]]).toEqual([NetlinkType.ERROR, number, 0]);
}

const typesOf = (datagrams: readonly Uint8Array[]) =>
  datagrams.flatMap((datagram) => parseMessages(datagram).map(({ type }) => type));

describe("netlink socket of the kernel's IPsec", () => {
  it('has the answer to a request as soon as that is sent, and nothing before or after', () =>
    withNamespaces(1, async (namespace) => {
      const socket = within(namespace, () => native().openXfrmNetlink(0));
      expect(socket.receive()).toBeUndefined();
      for (let number = 1; number < 4; number++) add(socket, number);
      expect(socket.receive()).toBeUndefined();
      socket.send(encodeDump('policies', 9));
      const answers: Uint8Array[] = [];
      for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive())
        answers.push(datagram);
      expect(typesOf(answers)).toEqual([NEWPOLICY, NEWPOLICY, NEWPOLICY, NetlinkType.DONE]);
      socket.close();
      socket.close();
      expect(socket.receive()).toBeUndefined();
      expect(() => socket.send(encodeDump('policies', 9))).toThrow(NativeError);
    }));

  it("tells of the kernel's events, and delivers no message of a process", () =>
    withNamespaces(1, async (namespace) => {
      // The first in the namespace: its port is our process id.
      const [events, requests] = within(namespace, () => [
        native().openXfrmNetlink(POLICY_EVENTS),
        native().openXfrmNetlink(0),
      ]);
      const received: (Uint8Array | undefined)[] = [];
      events.start((datagram) => received.push(datagram));
      const forged = `
        socket(my $s, 16, 3, 6) or die $!;
        my $message = pack('LSSLL', 16, ${NEWPOLICY}, 0, 0, 0);
        send($s, $message, 0, pack('SSLL', 16, 0, ${process.pid}, 0)) == 16 or die $!;`;
      await namespace.exec(['perl', '-e', forged]);
      add(requests, 1);
      await until('the event', () => received.length > 0);
      expect(typesOf(received as Uint8Array[])).toEqual([NEWPOLICY]);
      expect(parseMessages(received[0] as Uint8Array)[0].body.length).toBeGreaterThan(0);
      events.close();
      add(requests, 2);
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(received).toHaveLength(1);
      requests.close();
    }));

  it('says that events were lost when there were too many, and goes on', () =>
    withNamespaces(1, async (namespace) => {
      const [events, requests] = within(namespace, () => [
        native().openXfrmNetlink(POLICY_EVENTS),
        native().openXfrmNetlink(0),
      ]);
      const received: (Uint8Array | undefined)[] = [];
      events.start((datagram) => received.push(datagram));
      // Without a turn of the event loop in between, until the buffer of 8 MiB is full.
      for (let number = 1; number <= 16_000; number++) add(requests, number);
      await until('what was lost', () => received.includes(undefined));
      await until('the rest', () => received.length > 1_000);
      const before = received.length;
      await new Promise((resolve) => setTimeout(resolve, 100));
      add(requests, 20_000);
      await until('one more', () => received.length > before && received.at(-1) !== undefined);
      expect(received.filter((datagram) => datagram === undefined)).toHaveLength(1);
      events.close();
      requests.close();
    }));
});
