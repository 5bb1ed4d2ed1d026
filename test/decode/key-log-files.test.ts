import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { Decoder } from '../../src/decode/decoder.ts';
import { KeyLogError, KeyLogFiles } from '../../src/decode/key-log-files.ts';
import { parseKeyTable } from '../../src/decode/key-table-file.ts';
import { NextHeader, OutboundSa } from '../../src/esp/sa.ts';
import type { KeyLog } from '../../src/ike/key-log.ts';
import { postQuantumIkeProposals } from '../../src/ike/proposal.ts';
import { packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { SaParameters } from '../../src/link/sa-store.ts';
import { pcapngFile } from '../../src/transport/pcap.ts';
import { concat, utf8 } from '../../src/wire/bytes.ts';
import { IpProtocol, writeIpHeader } from '../../src/wire/ip.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import type { SeenPacket } from '../support/sim-network.ts';
import { CLIENT, DESTINATION, TelescopeWorld } from '../support/sim-telescope.ts';
import { DECRYPT_ESP, tshark } from '../support/tshark.ts';
import { udpPacket } from './captures.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ike-telescope-key-log-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function captureOf(packets: readonly Pick<SeenPacket, 'at' | 'bytes'>[]): Uint8Array {
  const frames = packets.map(({ at, bytes }) => ({ interface: 0, micros: 1e15 + at * 1000, bytes }));
  return pcapngFile([{ name: 'sa', linkType: 101 }], frames);
}

describe('the keys of a telescope', () => {
  it('let tshark read every layer of what the client has sent and received, and decode the outermost IKE', async () => {
    const log = new KeyLogFiles(directory);
    const world = await TelescopeWorld.open();
    const telescope = await world.build({ keyLog: log });
    expect(await world.echo(telescope, 'for the exit only')).toBe('for the exit only');
    await world.clock.until(telescope.close());
    log.close();

    const packets = world.relays.network.eavesdropper('s', 'a');
    const fields = ['ip.src', 'isakmp.auth.data', 'udp.payload', 'udp.dstport'];
    const frames = tshark(directory, captureOf(packets), fields, DECRYPT_ESP);
    expect(frames).toHaveLength(packets.length);
    const [a, b, c] = telescope.hops.map(({ assigned }) => assigned.ip4!);
    // The request goes through three tunnels, and its echo comes back.
    const payload = Buffer.from('for the exit only').toString('hex');
    const data = frames.filter(([, , udp]) => udp === payload);
    expect(data.map(([sources, , , port]) => [sources, port])).toEqual([
      [[CLIENT, a, b, c].join(), '7'],
      [[...world.path.map(({ addresses }) => addresses.ip4), DESTINATION].join(), '4321'],
    ]);
    // The AUTH payload of each relay: that of hop 3 comes through two tunnels.
    const proofs = frames.filter(([sources, auth]) => auth !== '' && !sources.startsWith(CLIENT));
    expect(proofs.map(([sources]) => sources.split(',').length)).toEqual([1, 2, 3]);

    const table = readFileSync(join(directory, 'ikev2_decryption_table'), 'utf8');
    const decoder = new Decoder(parseKeyTable(table, 'keys'));
    const read = packets.flatMap(({ bytes }, number) => {
      const frame = { number, time: 0n, linkType: 101, bytes };
      return decoder.decode(frame) ?? [];
    });
    const protectedOnes = read.filter(({ exchange }) => exchange !== 'IKE_SA_INIT');
    expect(protectedOnes.length).toBeGreaterThanOrEqual(4);
    expect(protectedOnes.every(({ icv, decrypted }) => icv && decrypted)).toBe(true);
  });

  it('are the same at the relays, which have those of their overlays too', async () => {
    const seen = new Map<string, Set<string>>();
    const collector = (name: string): KeyLog => {
      const keys = new Set<string>();
      seen.set(name, keys);
      const add = (bytes: Uint8Array) => keys.add(Buffer.from(bytes).toString('hex'));
      return {
        ikeSa: ({ initiator, responder }) =>
          void [initiator, responder].map(({ encryption }) => add(encryption)),
        espSa: ({ keys: { encryption } }) => void add(encryption),
      };
    };
    const world = await TelescopeWorld.open({
      relays: 2,
      relayOptions: (name) => ({ keyLog: collector(name) }),
    });
    await world.build({ keyLog: collector('client'), innerMtu: 1000 });
    const [client, a, b] = ['client', 'a', 'b'].map((name) => [...seen.get(name)!]);
    expect(client).toHaveLength(8);
    expect(client.filter((key) => a.includes(key))).toHaveLength(4);
    expect(client.filter((key) => b.includes(key))).toHaveLength(4);
    // Each overlay that they have dialled gives the same keys to both.
    const overlays = a.filter((key) => !client.includes(key));
    expect(overlays.length).toBeGreaterThanOrEqual(4);
    expect(overlays.filter((key) => !b.includes(key))).toEqual([]);
  });
});

describe('the keys of SAs that are rekeyed', () => {
  it('let tshark and ours read the messages of every IKE SA, and tshark the packets of every Child SA', () => {
    const folder = join(directory, 'rekeyed');
    const log = new KeyLogFiles(folder);
    const { provider } = testCrypto(81);
    const credentials = sharedKey('a secret');
    const pair = new Pair({
      // With names on both sides: Wireshark 4.0 stops at the empty data of an ID_NULL.
      initiator: { ...initiatorConfig(provider, credentials), local: credentials.local, keyLog: log },
      responder: responderConfig(provider, {
        ...anonymousProfile(credentials),
        remote: credentials.remote,
      }),
    });
    const packets: Uint8Array[] = [];
    const sendEsp = () => {
      for (const end of [pair.initiator, pair.responder]) {
        const sa = [...end.store.outbound.values()].at(-1)!;
        packets.push(espPacket(sa, packets.length));
      }
    };
    const { tunnelId } = pair.run(1000).initiator;
    sendEsp();
    for (const step of [
      () => pair.call(pair.responder, (ike, now) => ike.rekey(now)),
      () => pair.call(pair.initiator, (ike, now) => ike.rekeyChild(tunnelId, now)),
      () => pair.call(pair.initiator, (ike, now) => ike.rekey(now)),
    ]) {
      step();
      pair.run(1000);
      sendEsp();
    }
    pair.call(pair.initiator, (ike, now) => ike.close(now));
    pair.run(1000);
    log.close();
    const messages = pair.sent.map(({ message }) => udpPacket(message));
    const capture = captureOf([...messages, ...packets].map((bytes, at) => ({ at, bytes })));

    const fields = ['isakmp.nonce', 'isakmp.exchangetype', 'udp.dstport'];
    const theirs = tshark(folder, capture, fields, DECRYPT_ESP);
    const table = readFileSync(join(folder, 'ikev2_decryption_table'), 'utf8');
    expect(table.trimEnd().split('\n')).toHaveLength(3);
    const decoder = new Decoder(parseKeyTable(table, 'keys'));
    const ours = messages.map((bytes, number) => decoder.decode({ number, time: 0n, linkType: 101, bytes })!);
    expect(ours.slice(2).every(({ icv }) => icv)).toBe(true);
    const nonces = ours.map(({ payloads }) =>
      payloads
        .filter(({ type }) => type === 'NONCE')
        .map(({ data }) => String(data))
        .join(),
    );
    // Two of IKE_SA_INIT and of each of the three rekeys.
    expect(nonces.filter((nonce) => nonce !== '')).toHaveLength(8);
    expect(theirs.slice(0, messages.length).map(([nonce]) => nonce)).toEqual(nonces);
    expect(theirs.slice(messages.length).map(([, , port]) => Number(port))).toEqual(
      packets.map((_, index) => FIRST_PORT + index),
    );
  });

  it('let ours read IKE_INTERMEDIATE, whose exchanges have keys of their own', () => {
    const folder = join(directory, 'intermediate');
    const log = new KeyLogFiles(folder);
    const { provider } = testCrypto(82);
    const credentials = sharedKey('a secret');
    const ikeProposals = postQuantumIkeProposals;
    const pair = new Pair({
      initiator: {
        ...initiatorConfig(provider, credentials),
        ikeProposals,
        fragmentation: true,
        keyLog: log,
      },
      responder: { ...responderConfig(provider, anonymousProfile(credentials)), ikeProposals },
    }).run(1000);
    log.close();
    const decoder = new Decoder(
      parseKeyTable(readFileSync(join(folder, 'ikev2_decryption_table'), 'utf8'), 'keys'),
    );
    const read = pair.sent.map(
      ({ message }, number) =>
        decoder.decode({ number, time: 0n, linkType: 101, bytes: udpPacket(message) })!,
    );
    expect(new Set(read.map(({ exchange }) => exchange))).toEqual(
      new Set(['IKE_SA_INIT', 'IKE_INTERMEDIATE', 'IKE_AUTH']),
    );
    expect(read.slice(2).every(({ icv }) => icv)).toBe(true);
    const whole = read.filter(({ exchange, reassembled }) => exchange === 'IKE_INTERMEDIATE' && reassembled);
    expect(whole.map(({ payloads }) => payloads.map(({ type }) => type))).toEqual([['KE'], ['KE']]);
  });
});

const FIRST_PORT = 7_000;

/** A packet of a Child SA, to a UDP port by its number. */
function espPacket(sa: SaParameters, number: number): Uint8Array {
  const inner = udpPacket(utf8('x'), {
    source: '10.0.0.1',
    destination: '10.0.0.2',
    sourcePort: 1,
    destinationPort: FIRST_PORT + number,
  });
  const packet = packetFrom(inner);
  new OutboundSa(nodeProvider(), sa).seal(packet, NextHeader.IPV4);
  const { localAddress: source, address: destination } = sa.path;
  const esp = packetBytes(packet);
  const outer = new Uint8Array(20);
  writeIpHeader(outer, 0, { source, destination, protocol: IpProtocol.ESP }, esp.length);
  return concat(outer, esp);
}

describe('key log files', () => {
  const secrets = {
    spiI: new Uint8Array(8).fill(1),
    spiR: new Uint8Array(8).fill(2),
    suite: { encryption: 20, keyLength: 128, integrity: 0 },
    initiator: { encryption: new Uint8Array(20).fill(3), integrity: new Uint8Array(0) },
    responder: { encryption: new Uint8Array(20).fill(4), integrity: new Uint8Array(0) },
  };

  it('are for the eyes of their owner, and kept when they are there already', () => {
    const folder = join(directory, 'fresh');
    for (let i = 0; i < 2; i++) {
      const files = new KeyLogFiles(folder);
      files.ikeSa(secrets);
      files.close();
    }
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const name of ['ikev2_decryption_table', 'esp_sa']) {
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    }
    const lines = readFileSync(join(folder, 'ikev2_decryption_table'), 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toBe(lines[1]);
  });

  it('do not stop an IKE SA when they cannot be written, or have no name for its algorithms', () => {
    const folder = join(directory, 'closed');
    const files = new KeyLogFiles(folder);
    files.ikeSa({ ...secrets, suite: { ...secrets.suite, encryption: 9999 } });
    files.close();
    expect(() => files.ikeSa(secrets)).not.toThrow();
    expect(readFileSync(join(folder, 'ikev2_decryption_table'), 'utf8')).toBe('');
  });

  it('say which of them cannot be opened, and why', () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    expect(() => new KeyLogFiles(file)).toThrow(KeyLogError);
    expect(() => new KeyLogFiles(file)).toThrow(`${file}/ikev2_decryption_table: cannot be written: `);
  });
});
