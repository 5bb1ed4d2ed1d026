import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Decoder } from '../../src/decode/decoder.ts';
import { KeyLogError, KeyLogFiles } from '../../src/decode/key-log-files.ts';
import { parseKeyTable } from '../../src/decode/key-table-file.ts';
import type { KeyLog } from '../../src/ike/key-log.ts';
import { pcapngFile } from '../../src/transport/pcap.ts';
import type { SeenPacket } from '../support/sim-network.ts';
import { CLIENT, DESTINATION, TelescopeWorld } from '../support/sim-telescope.ts';
import { DECRYPT_ESP, tshark } from '../support/tshark.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ike-telescope-key-log-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function captureOf(packets: readonly SeenPacket[]): Uint8Array {
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
