import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { NotifyType, nameOf } from '../../src/ike/constants.ts';
import { peekHeader } from '../../src/ike/message.ts';
import type { Payload } from '../../src/ike/payload/index.ts';
import { extend, type Hop } from '../../src/telescope/telescope.ts';
import { hex } from '../../src/wire/bytes.ts';
import { faulty } from '../support/faults.ts';
import { RecordingCrypto } from '../support/recording-crypto.ts';
import { TelescopeWorld } from '../support/sim-telescope.ts';

/** A payload in one word: its type, the notify's or CP's contents, never a random value. */
function describePayload(payload: Payload): string {
  switch (payload.kind) {
    case 'NOTIFY':
      return `N(${nameOf(NotifyType, payload.type)}:${payload.data.length})`;
    case 'NONCE':
      return `NONCE(${payload.data.length})`;
    case 'KE':
      return `KE(${payload.method}:${payload.data.length})`;
    case 'IDi':
    case 'IDr':
      return `${payload.kind}(${payload.type}:${hex(payload.data)})`;
    case 'AUTH':
      return `AUTH(${payload.method}:${payload.data.length})`;
    case 'CP':
      return `CP(${payload.type}:${payload.attributes.map(({ type, value }) => `${type}/${value.length}`).join()})`;
    case 'TSi':
    case 'TSr':
      return `${payload.kind}(${payload.selectors.map((ts) => `${hex(ts.startAddress)}-${hex(ts.endAddress)}:${ts.protocol}:${ts.startPort}-${ts.endPort}`).join()})`;
    default:
      return payload.kind;
  }
}

/** Builds three hops and returns, per hop, what the client sent: exchange type and payloads, decrypted. */
async function sentPerHop(
  world: TelescopeWorld,
): Promise<{ exchange: number; payloads: string[]; port: number }[][]> {
  const crypto = new RecordingCrypto(nodeProvider());
  const sent: { exchange: number; payloads: string[]; port: number }[][] = [];
  let under: Hop | undefined;
  for (const [index, relay] of world.path.entries()) {
    const { link, passages } = faulty(under?.link ?? world.client, world.clock, () => [0]);
    const at = { address: relay.addresses.ip4!, first: index === 0 };
    under = await world.clock.until(extend(link, relay, at, world.options({ crypto: crypto.provider })));
    const to = link.origin(at.address, false);
    sent.push(
      passages
        .filter(({ direction, kind }) => direction === 'sent' && kind === 'ike')
        .map(({ bytes }) => ({
          exchange: peekHeader(bytes)!.exchangeType,
          payloads: crypto.read(bytes).map(describePayload),
          port: to.localPort,
        })),
    );
  }
  return sent;
}

const ANY = '00000000-ffffffff:0:0-65535';
const INIT = ['SA', 'KE(31:32)', 'NONCE(32)', 'N(SIGNATURE_HASH_ALGORITHMS:8)'];
const AUTH = ['IDi(13:)', 'AUTH(13:32)', 'CP(1:1/0,3/0)', 'SA', `TSi(${ANY})`, `TSr(${ANY})`];

describe('what a client says at each hop', () => {
  it('is at hops 2 and 3 exactly the fixed list, in two requests, from port 500 (T6, T7)', async () => {
    const [, second, third] = await sentPerHop(await TelescopeWorld.open());
    for (const hop of [second, third]) {
      expect(hop).toEqual([
        { exchange: 34, payloads: INIT, port: 500 },
        { exchange: 35, payloads: AUTH, port: 500 },
      ]);
    }
  });

  it('is at hop 1 the same with one NAT detection hash of either end, and MOBIKE', async () => {
    const [first] = await sentPerHop(await TelescopeWorld.open());
    const natDetection = ['N(NAT_DETECTION_SOURCE_IP:20)', 'N(NAT_DETECTION_DESTINATION_IP:20)'];
    expect(first.map(({ payloads }) => payloads)).toEqual([
      [...INIT, ...natDetection],
      [...AUTH, 'N(MOBIKE_SUPPORTED:0)'],
    ]);
  });

  it('has nothing random in common between hops: SPIs, KE data, nonces, ciphertext (T8)', async () => {
    const world = await TelescopeWorld.open();
    const runs: Set<string>[] = [];
    let under: Hop | undefined;
    for (const [index, relay] of world.path.entries()) {
      const { link, passages } = faulty(under?.link ?? world.client, world.clock, () => [0]);
      const at = { address: relay.addresses.ip4!, first: index === 0 };
      under = await world.clock.until(extend(link, relay, at, world.options()));
      const fields = passages
        .filter(({ kind }) => kind === 'ike')
        .flatMap(({ bytes }) => randomFields(bytes));
      runs.push(new Set(fields.flatMap(runsOfEight)));
    }
    const [first, second, third] = runs;
    expect(first.size).toBeGreaterThan(500);
    for (const [one, other] of [
      [first, second],
      [first, third],
      [second, third],
    ]) {
      expect([...one].filter((run) => other.has(run))).toEqual([]);
    }
  });
});

/** All runs of 8 octets, in hex. */
function runsOfEight(bytes: Uint8Array): string[] {
  return Array.from({ length: Math.max(0, bytes.length - 7) }, (_, i) => hex(bytes.subarray(i, i + 8)));
}

/** What of a message has to be new at every hop: nonzero SPIs, KE data, nonces, everything in SK. */
function randomFields(message: Uint8Array): Uint8Array[] {
  const spis = [message.subarray(0, 8), message.subarray(8, 16)];
  const fields = spis.filter((spi) => spi.some((octet) => octet !== 0));
  let next = message[16];
  for (let offset = 28; next !== 0 && offset < message.length; ) {
    const length = (message[offset + 2] << 8) | message[offset + 3];
    const body = message.subarray(offset + 4, offset + length);
    if (next === 34) fields.push(body.subarray(4));
    if (next === 40 || next === 46) fields.push(body);
    next = next === 46 ? 0 : message[offset];
    offset += length;
  }
  return fields;
}
