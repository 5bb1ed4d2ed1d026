import { describe, expect, it } from 'vitest';
import { keyOfAddress } from '../../src/forward/address-key.ts';
import { DropReason } from '../../src/forward/drop-reason.ts';
import type { Napt } from '../../src/forward/napt.ts';
import { echo, icmp, ip, packet, SYN, tcp, udp, view } from './packets.ts';
import { back, D, EXIT, EXIT6, napt, out, received, S1, S2, sent } from './translation.ts';

describe.each([
  { family: 4, exit: EXIT, s: S1, s2: S2, d: D, router: '192.0.2.99', type: 3, code: 4 },
  {
    family: 6,
    exit: EXIT6,
    s: 'fd00::1',
    s2: 'fd00::2',
    d: '2001:db8::80',
    router: '2001:db8:9::1',
    type: 2,
    code: 0,
  },
])('ICMP errors over IPv$family (RFC 5508 REQ-3 to REQ-6)', ({ exit, s, s2, d, router, type, code }) => {
  const headerLength = exit.includes(':') ? 48 : 28;
  const rest = Uint8Array.of(0, 0, 5, 0);
  const error = (quoted: Uint8Array, more = {}) =>
    icmp({ source: router, destination: exit, type, code, rest, data: quoted, ...more });
  /** Bytes of the packet as the exit sent it. */
  const leave = (nat: Napt, bytes: Uint8Array) => {
    const slot = packet(bytes);
    expect(nat.outbound(slot, keyOfAddress(s), 0)).toBeUndefined();
    return slot.buffer.slice(slot.start, slot.end);
  };
  const occupied = () => {
    const nat = napt(exit);
    // the port is taken, so that translation changes it
    nat.outbound(packet(udp({ source: s2, destination: d, sport: 4000, dport: 53 })), keyOfAddress(s2), 0);
    nat.outbound(
      packet(tcp({ source: s2, destination: d, sport: 4000, dport: 80, flags: SYN })),
      keyOfAddress(s2),
      0,
    );
    nat.outbound(packet(echo({ source: s2, destination: d, id: 4000 })), keyOfAddress(s2), 0);
    return nat;
  };

  it.each([
    ['UDP', udp({ source: s, destination: d, sport: 4000, dport: 53 })],
    ['TCP', tcp({ source: s, destination: d, sport: 4000, dport: 80, flags: SYN })],
    ['an echo request', echo({ source: s, destination: d, id: 4000 })],
  ])('inbound about %s: whole, and cut after eight octets', (_name, bytes) => {
    const nat = occupied();
    const left = leave(nat, bytes);
    expect(view(left).second === 4000 || view(left).first === 4000).toBe(false);
    const whole = received(nat, error(left));
    expect(whole).toMatchObject({ source: router, destination: s, first: type, ttl: 64 });
    const quoted = view(whole.payload.slice(8));
    expect(quoted).toMatchObject({ source: s, destination: d, sound: true });
    expect(quoted.payload).toEqual(view(bytes).payload);
    expect([...whole.payload.subarray(4, 8)]).toEqual([...rest]);
    const short = received(nat, error(left.subarray(0, headerLength)));
    const ports = short.payload.subarray(headerLength);
    expect(ports.subarray(0, 4)).toEqual(whole.payload.subarray(headerLength, headerLength + 4));
  });

  it('keeps the quoted header checksum true when routers have changed the TTL', () => {
    const nat = occupied();
    const left = leave(nat, udp({ source: s, destination: d, sport: 4000, dport: 53 }));
    const { first } = view(left);
    const routed = udp({ source: exit, destination: d, sport: first, dport: 53, ttl: 3 });
    const quoted = view(received(nat, error(routed)).payload.slice(8));
    expect(quoted).toMatchObject({ source: s, first: 4000, ttl: 3, sound: true });
  });

  it('inbound: drops what is about nothing that was sent', () => {
    const nat = occupied();
    const left = leave(nat, udp({ source: s, destination: d, sport: 4000, dport: 53 }));
    const about = (more: object) => udp({ source: exit, destination: d, sport: 4000, dport: 53, ...more });
    expect(back(nat, error(about({ sport: 9 })))).toBe(DropReason.NO_MAPPING);
    expect(back(nat, error(about({ destination: router })))).toBe(DropReason.FILTERED);
    expect(back(nat, error(about({ source: s })))).toBe(DropReason.NO_MAPPING);
    const esp = ip({ source: exit, destination: d, protocol: 50, payload: new Uint8Array(20) });
    expect(back(nat, error(esp))).toBe(DropReason.UNSUPPORTED_PROTOCOL);
    expect(back(nat, error(left.subarray(0, headerLength - 1)))).toBe(DropReason.MALFORMED);
    const damaged = error(left);
    damaged[damaged.length - 1] ^= 1;
    expect(back(nat, damaged)).toBe(DropReason.MALFORMED);
  });

  it('does not refresh or end the session', () => {
    const nat = napt(exit);
    const left = leave(nat, udp({ source: s, destination: d, sport: 4000, dport: 53 }));
    received(nat, error(left), 200_000);
    received(nat, error(left), 299_999);
    expect(back(nat, error(left), 300_000)).toBe(DropReason.NO_MAPPING);
  });

  it('outbound: about a packet that the client was sent', () => {
    const nat = occupied();
    const { first: port } = view(leave(nat, udp({ source: s, destination: d, sport: 4000, dport: 53 })));
    const delivered = packet(udp({ source: d, destination: exit, sport: 53, dport: port }));
    expect(nat.inbound(delivered, 0)).toEqual({ client: keyOfAddress(s) });
    const quoted = delivered.buffer.slice(delivered.start, delivered.end);
    const fromClient = (more: object = {}) =>
      icmp({
        source: s,
        destination: d,
        type: exit === EXIT ? 3 : 1,
        code: 3,
        data: quoted,
        tos: 0xc0,
        ...more,
      });
    const left = sent(nat, fromClient());
    expect(left).toMatchObject({ source: exit, destination: d, tos: 0, ttl: 64 });
    expect(view(left.payload.slice(8))).toMatchObject({
      source: d,
      destination: exit,
      first: 53,
      second: port,
      sound: true,
    });
    const text = Buffer.from(left.payload).toString('latin1');
    const bytes = Buffer.from(delivered.buffer.subarray(delivered.start, delivered.end));
    expect(text).not.toContain(
      bytes.subarray(exit === EXIT ? 16 : 24, exit === EXIT ? 20 : 40).toString('latin1'),
    );

    expect(out(nat, fromClient({ destination: router }))).toBe(DropReason.NO_MAPPING);
    const foreign = udp({ source: d, destination: s2, sport: 53, dport: 4000 });
    expect(out(nat, fromClient({ data: foreign }))).toBe(DropReason.NO_MAPPING);
    const unknown = udp({ source: d, destination: s, sport: 53, dport: 4444 });
    expect(out(nat, fromClient({ data: unknown }))).toBe(DropReason.NO_MAPPING);
    const stranger = udp({ source: router, destination: s, sport: 53, dport: 4000 });
    expect(out(nat, fromClient({ data: stranger, destination: router }))).toBe(DropReason.NO_MAPPING);
  });
});
