import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyOfAddress } from '../../src/forward/address-key.ts';
import { DropReason } from '../../src/forward/drop-reason.ts';
import { Napt } from '../../src/forward/napt.ts';
import {
  MAX_LOW_PORTS_PER_CLIENT,
  MAX_SESSIONS,
  MAX_SESSIONS_PER_CLIENT,
  SESSION_TIMEOUT,
} from '../../src/forward/sessions.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { ACK, echo, FIN, icmp, ip, joined, packet, RST, type Spec, SYN, tcp, udp } from './packets.ts';
import { back, D, E, EXIT, EXIT6, napt, out, received, S1, S2, sent } from './translation.ts';

const query = (source = S1, destination = D, sport = 4000, dport = 53, more: Partial<Spec> = {}) =>
  udp({ ...more, source, destination, sport, dport });
const segment = (flags: number, more = {}) =>
  tcp({ source: S1, destination: D, sport: 4000, dport: 80, flags, ...more });
const answer = (flags: number, more = {}) =>
  tcp({ source: D, destination: EXIT, sport: 80, dport: 4000, flags, ...more });

describe('mapping', () => {
  it('gives a packet the exit address, keeps its port and brings the answer back (K5, K6)', () => {
    const nat = napt();
    expect(sent(nat, query())).toMatchObject({ source: EXIT, destination: D, first: 4000, second: 53 });
    expect(received(nat, query(D, EXIT, 53, 4000))).toMatchObject({
      source: D,
      destination: S1,
      first: 53,
      second: 4000,
    });
  });

  it('is the same towards every destination (RFC 4787 REQ-1)', () => {
    const nat = napt();
    sent(nat, query(S2));
    const ports = [D, E, '192.0.2.1'].map((host) => sent(nat, query(S1, host)).first);
    expect(new Set(ports).size).toBe(1);
    expect(ports[0]).not.toBe(4000);
  });

  it('changes the port when two clients use the same one to the same destination (K17)', () => {
    const nat = napt();
    const first = sent(nat, query(S1));
    const second = sent(nat, query(S2));
    expect(first.first).toBe(4000);
    expect(second.first).not.toBe(4000);
    expect(second.first).toBeGreaterThanOrEqual(1024);
    expect(received(nat, query(D, EXIT, 53, first.first)).destination).toBe(S1);
    expect(received(nat, query(D, EXIT, 53, second.first))).toMatchObject({ destination: S2, second: 4000 });
  });

  it('keeps a port below 1024 below 1024 (RFC 4787 REQ-3)', () => {
    const nat = napt();
    expect(sent(nat, query(S1, D, 500, 500)).first).toBe(500);
    const other = sent(nat, query(S2, D, 500, 500)).first;
    expect(other).not.toBe(500);
    expect(other).toBeLessThan(1024);
    expect(other).toBeGreaterThan(0);
  });

  it('keeps protocols apart: the same number for UDP, TCP and a query id', () => {
    const nat = napt();
    expect(sent(nat, query()).first).toBe(4000);
    expect(sent(nat, segment(SYN)).first).toBe(4000);
    expect(sent(nat, echo({ source: S1, destination: D, id: 4000 })).second).toBe(4000);
  });

  it('maps the query id of echo requests (RFC 5508 REQ-1)', () => {
    const nat = napt();
    const first = sent(nat, echo({ source: S1, destination: D, id: 7 }));
    const second = sent(nat, echo({ source: S2, destination: D, id: 7 }));
    expect(first.second).toBe(7);
    expect(second.second).not.toBe(7);
    const reply = received(nat, echo({ source: D, destination: EXIT, id: second.second, reply: true }));
    expect(reply).toMatchObject({ destination: S2, second: 7 });
  });

  it('takes the sender out of the header (T3, T4, T15)', () => {
    const nat = napt();
    const plain = sent(nat, query(S1, D, 1, 2, { ttl: 127, tos: 0xb9, id: 777 }));
    expect(plain).toMatchObject({ ttl: 64, tos: 0, id: 0, df: true });
    const ids = [1, 2, 3, 4].map(() => sent(nat, query(S1, D, 1, 2, { df: false, id: 5 })));
    expect(ids.every(({ df }) => !df)).toBe(true);
    expect(new Set(ids.map(({ id }) => id)).size).toBe(4);
    expect(received(nat, query(D, EXIT, 2, 1, { ttl: 9, tos: 3 }))).toMatchObject({ ttl: 64, tos: 0 });
  });

  it('leaves a UDP checksum of zero alone and never makes one (RFC 768)', () => {
    const nat = napt();
    const none = sent(nat, udp({ source: S1, destination: D, sport: 1, dport: 2, noChecksum: true }));
    expect([...none.payload.subarray(6, 8)]).toEqual([0, 0]);
    const original = query();
    const checksums = new Set<number>();
    for (let checksum = 1; checksum < 65536; checksum++) {
      original.set([checksum >> 8, checksum & 255], 26);
      const slot = packet(original);
      nat.outbound(slot, keyOfAddress(S1), 0);
      const at = slot.start + 26;
      checksums.add(slot.buffer[at] * 256 + slot.buffer[at + 1]);
    }
    expect(checksums.has(0)).toBe(false);
    expect(checksums.size).toBe(65535);
  });

  it('does not repair a packet that was damaged before', () => {
    const damaged = query();
    damaged[damaged.length - 1] ^= 1;
    expect(out(napt(), damaged)).toMatchObject({ sound: false });
  });

  it('cuts what follows the packet off', () => {
    const slot = packet(joined(query(), Uint8Array.of(1, 2, 3)));
    expect(napt().outbound(slot, keyOfAddress(S1), 0)).toBeUndefined();
    expect(slot.end - slot.start).toBe(query().length);
  });

  it('brings answers back to the endpoint that asked, with sound checksums', () => {
    const port = fc.integer({ min: 1, max: 65535 });
    const host = fc.integer({ min: 1, max: 254 });
    const flow = fc.record({
      kind: fc.constantFrom('udp', 'tcp', 'echo'),
      six: fc.boolean(),
      client: fc.integer({ min: 1, max: 5 }),
      host,
      sport: fc.oneof(fc.constantFrom(53, 4000), port),
      dport: port,
      data: fc.uint8Array({ maxLength: 61 }),
      df: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(flow, { minLength: 1, maxLength: 30 }), (flows) => {
        const nats = { false: napt(), true: napt(EXIT6) };
        const taken = new Map<string, string>();
        for (const { kind, six, client, host, sport, dport, data, df } of flows) {
          const [source, destination, exit] = six
            ? [`fd00::${client}`, `2001:db8::${host}`, EXIT6]
            : [`10.1.0.${client}`, `198.51.100.${host}`, EXIT];
          const nat = nats[`${six}`];
          const build = (from: string, to: string, a: number, b: number, reply: boolean) => {
            if (kind === 'udp') return udp({ source: from, destination: to, sport: a, dport: b, data, df });
            if (kind === 'echo')
              return echo({ source: from, destination: to, id: reply ? b : a, reply, data, df });
            return tcp({ source: from, destination: to, sport: a, dport: b, flags: ACK, data, df });
          };
          const outside = sent(nat, build(source, destination, sport, dport, false));
          expect(outside).toMatchObject({ source: exit, destination });
          const exitPort = kind === 'echo' ? outside.second : outside.first;
          const owner = `${source} ${sport}`;
          const slot = `${kind} ${six} ${exitPort}`;
          expect(taken.get(slot) ?? owner).toBe(owner);
          taken.set(slot, owner);
          const inside = received(nat, build(destination, exit, dport, exitPort, true));
          expect(inside).toMatchObject({ source: destination, destination: source, second: sport });
          if (kind !== 'echo') expect(inside.first).toBe(dport);
          const header = kind === 'udp' ? 8 : kind === 'tcp' ? 20 : 8;
          expect(inside.payload.subarray(header)).toEqual(data);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('filtering', () => {
  it('admits any port of a host that the client has written to, and nobody else (RFC 4787 REQ-8)', () => {
    const nat = napt();
    sent(nat, query());
    expect(received(nat, query(D, EXIT, 9999, 4000)).destination).toBe(S1);
    expect(back(nat, query(E, EXIT, 53, 4000))).toBe(DropReason.FILTERED);
    expect(back(nat, query(D, EXIT, 53, 4001))).toBe(DropReason.NO_MAPPING);
  });

  it('admits TCP only from the host and port that the client has written to', () => {
    const nat = napt();
    sent(nat, segment(SYN));
    expect(received(nat, answer(SYN | ACK)).second).toBe(4000);
    expect(back(nat, answer(SYN, { sport: 81 }))).toBe(DropReason.FILTERED);
  });

  it('drops everything unasked for, and what is not for the exit address', () => {
    const nat = napt();
    sent(nat, query());
    expect(back(nat, answer(SYN))).toBe(DropReason.NO_MAPPING);
    expect(back(nat, echo({ source: D, destination: EXIT, id: 1 }))).toBe(DropReason.UNSUPPORTED_ICMP);
    expect(back(nat, echo({ source: D, destination: EXIT, id: 1, reply: true }))).toBe(DropReason.NO_MAPPING);
    expect(back(nat, query(D, S1, 53, 4000))).toBe(DropReason.NOT_FOR_US);
  });

  it('isolates clients: no hairpinning', () => {
    const nat = napt();
    sent(nat, query(S2));
    expect(out(nat, query(S1, EXIT, 5, 4000))).toBe(DropReason.HAIRPIN);
  });

  it.each([
    ['a fragment', query(S1, D, 1, 2, { moreFragments: true, df: false }), DropReason.FRAGMENT],
    ['IPv4 options', query(S1, D, 1, 2, { options: true }), DropReason.IP_OPTIONS],
    [
      'another protocol',
      ip({ source: S1, destination: D, protocol: 47, payload: new Uint8Array(20) }),
      DropReason.UNSUPPORTED_PROTOCOL,
    ],
    ['another family', query('fd00::1', '2001:db8::1'), DropReason.MALFORMED],
    [
      'UDP cut short',
      ip({ source: S1, destination: D, protocol: 17, payload: new Uint8Array(7) }),
      DropReason.MALFORMED,
    ],
    [
      'TCP cut short',
      ip({ source: S1, destination: D, protocol: 6, payload: new Uint8Array(19).fill(1) }),
      DropReason.MALFORMED,
    ],
    ['port 0', query(S1, D, 0, 53), DropReason.MALFORMED],
    ['destination port 0', query(S1, D, 53, 0), DropReason.MALFORMED],
    [
      'an unasked echo reply',
      echo({ source: S1, destination: D, id: 1, reply: true }),
      DropReason.UNSUPPORTED_ICMP,
    ],
    [
      'an ICMP redirect',
      icmp({ source: S1, destination: D, type: 5, data: query() }),
      DropReason.UNSUPPORTED_ICMP,
    ],
    ['nothing', new Uint8Array(0), DropReason.MALFORMED],
  ])('drops %s', (_name, bytes, reason) => {
    const nat = napt();
    expect(nat.outbound(packet(bytes), keyOfAddress(S1), 0)).toBe(reason);
    expect(nat.nextExpiry).toBeUndefined();
  });
});

describe('time-outs', () => {
  it('ends a UDP mapping after 300 idle seconds, which only outbound packets refresh (REQ-5, REQ-6)', () => {
    const nat = napt();
    sent(nat, query(), 0);
    expect(nat.nextExpiry).toBe(SESSION_TIMEOUT.udp);
    sent(nat, query(), 200_000);
    received(nat, query(D, EXIT, 53, 4000), 499_999);
    expect(back(nat, query(D, EXIT, 53, 4000), 500_000)).toBe(DropReason.NO_MAPPING);
    expect(nat.nextExpiry).toBeUndefined();
  });

  it('ends one host of a mapping at a time', () => {
    const nat = napt();
    sent(nat, query(S1, D), 0);
    sent(nat, query(S1, E), 200_000);
    expect(back(nat, query(D, EXIT, 53, 4000), 300_000)).toBe(DropReason.FILTERED);
    expect(received(nat, query(E, EXIT, 53, 4000), 300_000).destination).toBe(S1);
  });

  it('gives the port free when the mapping ends', () => {
    const nat = napt();
    sent(nat, query(S1), 0);
    nat.expire(300_000);
    expect(sent(nat, query(S2), 300_000).first).toBe(4000);
  });

  it('ends a query after 60 seconds (RFC 5508 REQ-2)', () => {
    const nat = napt();
    sent(nat, echo({ source: S1, destination: D, id: 7 }));
    const reply = echo({ source: D, destination: EXIT, id: 7, reply: true });
    received(nat, reply, 59_999);
    expect(back(nat, reply, 60_000)).toBe(DropReason.NO_MAPPING);
  });

  it('ends a connection that never opened after 4 minutes', () => {
    const nat = napt();
    sent(nat, segment(SYN));
    received(nat, answer(SYN | ACK), 239_999);
    expect(back(nat, answer(SYN | ACK), 240_000)).toBe(DropReason.NO_MAPPING);
  });

  const established = (): Napt => {
    const nat = napt();
    sent(nat, segment(SYN));
    received(nat, answer(SYN | ACK));
    sent(nat, segment(ACK));
    return nat;
  };

  it('keeps an established connection for 2 hours 4 minutes (RFC 5382 REQ-5)', () => {
    const nat = established();
    received(nat, answer(ACK), 7_439_999);
    expect(back(nat, answer(ACK), 7_440_000)).toBe(DropReason.NO_MAPPING);
  });

  it.each([
    ['a reset from outside', (nat: Napt) => received(nat, answer(RST), 1000)],
    ['a reset from the client', (nat: Napt) => sent(nat, segment(RST), 1000)],
    [
      'both ends having closed',
      (nat: Napt) => {
        sent(nat, segment(FIN | ACK), 1000);
        received(nat, answer(FIN | ACK), 1000);
      },
    ],
  ])('ends a connection 4 minutes after %s', (_name, close) => {
    const nat = established();
    close(nat);
    received(nat, answer(ACK), 240_999);
    expect(back(nat, answer(ACK), 241_000)).toBe(DropReason.NO_MAPPING);
  });

  it('keeps a half-closed connection, and opens a closed one again on SYN', () => {
    const nat = established();
    sent(nat, segment(FIN | ACK), 1000);
    received(nat, answer(ACK), 1_000_000);
    received(nat, answer(FIN | ACK), 1_000_000);
    sent(nat, segment(SYN), 1_001_000);
    received(nat, answer(SYN | ACK), 1_001_000);
    sent(nat, segment(ACK), 1_001_000);
    received(nat, answer(ACK), 8_000_000);
  });
});

describe('bounds', () => {
  it('limits the sessions of a client, not of others', () => {
    const nat = napt();
    for (let i = 0; i < MAX_SESSIONS_PER_CLIENT; i++) sent(nat, query(S1, D, 2000 + i));
    expect(out(nat, query(S1, D, 1999))).toBe(DropReason.NAPT_FULL);
    expect(out(nat, query(S1, E, 2000))).toBe(DropReason.NAPT_FULL);
    sent(nat, query(S1, D, 2000));
    sent(nat, query(S2, D, 1999));
    nat.release(keyOfAddress(S1));
    sent(nat, query(S1, D, 1999));
  });

  it('limits the sessions of all clients', () => {
    const nat = napt();
    const bytes = query();
    for (let session = 0; session < MAX_SESSIONS; session++) {
      const client = `10.1.1.${Math.floor(session / MAX_SESSIONS_PER_CLIENT)}`;
      bytes.set(addressBytes(client), 12);
      bytes.set([session >> 8, session & 255], 18);
      if (nat.outbound(packet(bytes), keyOfAddress(client), 0) !== undefined)
        throw new Error(`at ${session}`);
    }
    expect(out(nat, query(S1))).toBe(DropReason.NAPT_FULL);
    nat.expire(300_000);
    sent(nat, query(S1), 300_000);
  });

  it('runs out of ports without taking one that is in use', () => {
    const nat = napt();
    const ports = new Set<number>();
    for (let port = 1; port < 1024; port++) {
      ports.add(sent(nat, query(`10.1.2.${port % 16}`, D, port)).first);
    }
    expect(ports.size).toBe(1023);
    expect(out(nat, query(S2, D, 80))).toBe(DropReason.NAPT_FULL);
    expect(sent(nat, query(S2, D, 1024)).first).toBe(1024);
  });

  it('tries some random ports, not every one', () => {
    const nat = new Napt(EXIT, (length) => new Uint8Array(length)); // always port 1024
    sent(nat, query(S1, D, 4000));
    sent(nat, query(S1, D, 1024));
    expect(out(nat, query(S2, D, 4000))).toBe(DropReason.NAPT_FULL);
    expect(sent(nat, query(S2, D, 4001)).first).toBe(4001);
  });

  it('leaves ports below 1024 to other clients', () => {
    const nat = napt();
    const first = MAX_LOW_PORTS_PER_CLIENT;
    for (let port = 1; port <= first; port++) {
      sent(nat, query(S1, D, port));
      sent(nat, echo({ source: S1, destination: D, id: port }));
    }
    expect(out(nat, query(S1, D, first + 1))).toBe(DropReason.NAPT_FULL);
    sent(nat, query(S1, E, first));
    sent(nat, query(S1, D, 1024));
    sent(nat, echo({ source: S1, destination: D, id: first + 1 }));
    sent(nat, query(S2, D, first + 1));
    nat.expire(SESSION_TIMEOUT.udp);
    sent(nat, query(S1, D, first + 1), SESSION_TIMEOUT.udp);
  });

  it('forgets a released client at once', () => {
    const nat = napt();
    sent(nat, query());
    sent(nat, segment(SYN));
    nat.release(keyOfAddress(S1));
    nat.release(keyOfAddress(S1));
    expect(back(nat, query(D, EXIT, 53, 4000))).toBe(DropReason.NO_MAPPING);
    expect(back(nat, answer(SYN | ACK))).toBe(DropReason.NO_MAPPING);
  });
});

it('takes any octets from either side without throwing', () => {
  const nat = napt();
  sent(nat, query());
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 90 }), fc.boolean(), (bytes, toExit) => {
      bytes[0] = 0x45;
      if (bytes.length > 20) {
        bytes.set([0, bytes.length], 2);
        bytes.set([0, 0], 6);
        bytes[9] = [1, 6, 17][bytes[9] % 3];
        if (toExit) bytes.set([203, 0, 113, 7], 16);
      }
      nat.inbound(packet(bytes), 0);
      nat.outbound(packet(bytes), keyOfAddress(S1), 0);
    }),
  );
});
