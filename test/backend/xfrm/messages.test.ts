import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeEvent, decodePolicy, decodeState, encodeRequest } from '../../../src/backend/xfrm/messages.ts';
import type { PortMask, XfrmPolicy, XfrmRequest, XfrmState } from '../../../src/backend/xfrm/model.ts';
import {
  NETLINK_HEADER,
  parseAnswer,
  parseAttributes,
  parseMessages,
} from '../../../src/backend/xfrm/netlink.ts';
import { parsePrefix } from '../../../src/wire/address.ts';
import { fromHex, hex } from '../../../src/wire/bytes.ts';

interface Vector {
  readonly what: string;
  readonly type: number;
  readonly flags: number;
  readonly body: string;
}

const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL('../../../fixtures/vectors/xfrm-requests.json', import.meta.url), 'utf8'),
).cases;

const counted = (length: number) => Uint8Array.from({ length }, (_, index) => index);
const ANY_PORT: PortMask = { port: 0, mask: 0 };

const REQID = 2801795073;
const MARK = 0xa7000001;

const aead: XfrmState = {
  source: '192.0.2.1',
  destination: '192.0.2.2',
  spi: 0x1234abcd,
  reqid: REQID,
  mark: MARK,
  algorithms: { aead: 'rfc4106(gcm(aes))', key: counted(20), icvLength: 128 },
  replay: { extended: true, sent: 0, received: 0, window: 1024 },
  limits: { softOctets: 1000, hardOctets: 2000, softPackets: 30, hardPackets: 40 },
  encapsulation: { sourcePort: 4500, destinationPort: 31000 },
};

const cbc: XfrmState = {
  source: '2001:db8::1',
  destination: '2001:db8::2',
  spi: 0x1000,
  reqid: 7,
  interfaceId: 77,
  algorithms: {
    cipher: 'cbc(aes)',
    key: counted(16),
    authentication: 'hmac(sha256)',
    authenticationKey: counted(32),
    icvLength: 128,
  },
  replay: { extended: true, sent: 2 ** 32 + 5, received: 2 * 2 ** 32 + 9, window: 64 },
  limits: {},
};

const { encapsulation: _, mark: __, ...plain } = aead;
const mortal: XfrmState = {
  ...plain,
  reqid: 7,
  replay: { extended: false, sent: 0, received: 0, window: 1024 },
  limits: { softOctets: 1000 },
  lifetime: 5700,
};

const leaving: XfrmPolicy = {
  direction: 'out',
  selector: {
    source: parsePrefix('10.0.0.0/24'),
    destination: parsePrefix('10.1.0.0/16'),
    protocol: 0,
    sourcePorts: ANY_PORT,
    destinationPorts: ANY_PORT,
  },
  mark: MARK,
  action: 'allow',
  priority: 1000,
  template: { reqid: REQID, spi: 0x1234abcd, path: { source: '192.0.2.1', destination: '192.0.2.2' } },
};

const forwarded: XfrmPolicy = {
  direction: 'fwd',
  selector: {
    source: parsePrefix('fd00:1::/64'),
    destination: parsePrefix('fd00:2::7/128'),
    protocol: 17,
    sourcePorts: { port: 53, mask: 0xffff },
    destinationPorts: ANY_PORT,
  },
  interfaceId: 77,
  action: 'allow',
  priority: 1000,
  template: { reqid: 9, spi: 0, path: { source: '2001:db8::1', destination: '2001:db8::2' } },
};

const blocking: XfrmPolicy = {
  direction: 'in',
  selector: { ...leaving.selector, source: parsePrefix('0.0.0.0/0') },
  action: 'block',
  priority: 2000,
  template: { reqid: REQID, spi: 0 },
};

const requests: Readonly<Record<string, XfrmRequest>> = {
  'an IPv4 SA with AES-GCM, ESN, ESP in UDP, a mark and limits': { kind: 'add-state', state: aead },
  'an IPv6 SA with AES-CBC and HMAC-SHA2-256': { kind: 'add-state', state: cbc },
  'an SA that is gone after 95 minutes': { kind: 'add-state', state: mortal },
  'deletion of an SA': { kind: 'delete-state', id: aead },
  'a policy for packets that leave': { kind: 'add-policy', policy: leaving },
  'a policy for forwarded IPv6 packets to one port': { kind: 'add-policy', policy: forwarded },
  'a block policy in the place of another': { kind: 'update-policy', policy: blocking },
  'deletion of a policy': { kind: 'delete-policy', id: leaving },
};

/** Octets before the attributes, by message type. */
const FIXED: Readonly<Record<number, number>> = { 16: 224, 17: 24, 19: 168, 20: 64, 25: 168 };
/** What `ip` sends to no effect (XFRMA_SRCADDR of a deletion), and what it cannot send (XFRMA_MTIMER_THRESH). */
const IGNORED = [13, 32];

function described(type: number, flags: number, body: Uint8Array) {
  const attributes = [...parseAttributes(body, FIXED[type])]
    .filter(([attribute]) => !IGNORED.includes(attribute))
    .sort(([a], [b]) => a - b)
    .map(([attribute, value]) => [attribute, hex(value)]);
  return { type, flags, fixed: hex(body.subarray(0, FIXED[type])), attributes };
}

describe('requests to the kernel', () => {
  it.each(vectors)('are those of ip: $what', ({ what, type, flags, body }) => {
    const [message, ...more] = parseMessages(encodeRequest(requests[what], 4711));
    expect(more).toEqual([]);
    expect(message.sequence).toBe(4711);
    expect(described(message.type, message.flags, message.body)).toEqual(
      described(type, flags, fromHex(body)),
    );
  });

  it('fit their vectors one for one', () => {
    expect(vectors.map(({ what }) => what).sort()).toEqual(Object.keys(requests).sort());
  });

  it('have an SA, but for its keys, and a policy come back as they went', () => {
    const nothing = { octets: 0, packets: 0, replayed: 0, badIcv: 0 };
    for (const state of [aead, cbc, mortal]) {
      const [message] = parseMessages(encodeRequest({ kind: 'add-state', state }, 1));
      const { algorithms: _, ...told } = state;
      expect(decodeState(message)).toEqual({ ...told, replay: { ...state.replay, bitmap: [] }, ...nothing });
    }
    for (const policy of [leaving, forwarded, blocking]) {
      const [message] = parseMessages(encodeRequest({ kind: 'add-policy', policy }, 1));
      expect(decodePolicy(message)).toEqual(policy);
    }
  });

  it('keep the replay window in whole', () => {
    const bitmap = Array.from({ length: 32 }, (_, index) => (0xffff_ffff - index) >>> 0);
    const replay = { extended: false, sent: 77, received: 2 ** 32 - 1, window: 1024, bitmap };
    const [message] = parseMessages(encodeRequest({ kind: 'add-state', state: { ...aead, replay } }, 1));
    expect(decodeState(message)?.replay).toEqual(replay);
  });
});

describe('messages of the kernel', () => {
  it('are not read beyond where they are cut off', () => {
    const bytes = encodeRequest({ kind: 'add-state', state: aead }, 1).slice();
    const view = new DataView(bytes.buffer);
    for (let length = 0; length < bytes.length; length++) {
      view.setUint32(0, bytes.length, true);
      expect(parseMessages(bytes.subarray(0, length))).toEqual([]);
      if (length < NETLINK_HEADER) continue;
      view.setUint32(0, length, true);
      for (const message of parseMessages(bytes.subarray(0, length))) {
        expect(() => decodeState(message)).not.toThrow();
        expect(() => decodePolicy({ ...message, type: 0x13 })).not.toThrow();
      }
    }
  });

  it('of SAs that the kernel waits for tell nothing', () => {
    const [message] = parseMessages(encodeRequest({ kind: 'add-state', state: aead }, 1));
    expect(decodeState({ ...message, body: message.body.subarray(0, 224) })).toBeUndefined();
  });

  it('tell which SA has reached a limit, without its algorithms', () => {
    const [{ body: sa }] = parseMessages(encodeRequest({ kind: 'add-state', state: aead }, 1));
    // A struct xfrm_user_expire: a usersa_info with 2000 octets in 30 packets, 3 of them refused for each reason, and whether it is hard.
    const expire = (hard: boolean) => {
      const body = new Uint8Array(224 + 8 + 12);
      body.set(sa.subarray(0, 224));
      const view = new DataView(body.buffer);
      view.setBigUint64(160, 2000n, true);
      view.setBigUint64(168, 30n, true);
      for (const at of [192, 196, 200]) view.setUint32(at, 3, true);
      body[224] = hard ? 1 : 0;
      body.set(fromHex('0c001500 010000a7 ffffffff'), 232);
      return { type: 0x18, flags: 0, sequence: 0, body };
    };
    const { destination, spi, reqid } = aead;
    const state = { destination, spi, reqid, mark: MARK, octets: 2000, packets: 30, replayed: 6, badIcv: 3 };
    expect(decodeEvent(expire(false))).toEqual({ kind: 'expired', hard: false, state });
    expect(decodeEvent(expire(true))).toEqual({ kind: 'expired', hard: true, state });
    const { body } = expire(true);
    for (let length = 0; length < 232; length++)
      expect(decodeEvent({ ...expire(true), body: body.subarray(0, length) })).toBeUndefined();
    body[76] = 51; // AH
    expect(decodeEvent({ ...expire(true), body })).toBeUndefined();
  });

  it('say in words what is wrong', () => {
    // ENOENT for a request of which only the header follows, and NLMSGERR_ATTR_MSG.
    const body = fromHex('feffffff 14000000 1000 0500 01000000 00000000 0c00 0100 6e6f2053 41000000');
    const capped = { type: 2, flags: 0x300, sequence: 1, body };
    expect(parseAnswer(capped)).toEqual({ errno: 2, text: 'no SA' });
    expect(parseAnswer({ ...capped, flags: 0 })).toEqual({ errno: 2 });
    expect(parseAnswer({ ...capped, body: body.subarray(0, 3) })).toBeUndefined();
  });
});
