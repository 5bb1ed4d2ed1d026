import { defaultProvider } from '../../src/crypto/default.ts';
import { EncryptionTransform } from '../../src/crypto/transforms.ts';
import { NextHeader, OutboundSa } from '../../src/esp/sa.ts';
import { ip } from '../../src/host/ip.ts';
import { udpPacket } from '../../src/link/packet.ts';
import type { RawEspSocket } from '../../src/native/native.ts';
import { type Address, addressBytes } from '../../src/wire/address.ts';
import { fromHex } from '../../src/wire/bytes.ts';
import { native, within } from '../support/namespaces.ts';
import { ADDRESSES, type RelayName, type World } from './world.ts';

/** Sends packets through the overlay tunnel of a relay that its kernel would not, with the SA that the kernel has. */
export class Forger {
  readonly #sa: OutboundSa;
  readonly #socket: RawEspSocket;
  readonly #to: Address;

  private constructor(sa: OutboundSa, socket: RawEspSocket, to: Address) {
    this.#sa = sa;
    this.#socket = socket;
    this.#to = to;
  }

  static async open(world: World, relay: RelayName, peer: RelayName): Promise<Forger> {
    const [from, to] = [ADDRESSES[relay].ip4, ADDRESSES[peer].ip4];
    const namespace = world.nodes[relay];
    const { stdout } = await ip(['xfrm', 'state', 'list', 'src', from, 'dst', to], { netns: namespace.pid });
    const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
    const [, key] = /aead rfc4106\(gcm\(aes\)\) 0x([0-9a-f]+) 128/.exec(stdout) ?? [];
    const [spi, sequence] = [number(/spi (0x[0-9a-f]+)/), number(/\boseq (0x[0-9a-f]+)/)];
    if (key === undefined || Number.isNaN(spi + sequence)) throw new Error(`no SA to forge with: ${stdout}`);
    const encryption = fromHex(key);
    const suite = {
      encryption: EncryptionTransform.AES_GCM_16,
      keyLength: (encryption.length - 4) * 8,
      integrity: 0,
      esn: stdout.includes('esn'),
    };
    const keys = { encryption, integrity: new Uint8Array(0) };
    const sa = new OutboundSa(defaultProvider(), { spi, suite, keys }, sequence);
    return new Forger(
      sa,
      within(namespace, () => native().openRawEsp(from)),
      to,
    );
  }

  /** A UDP message. */
  send(
    message: Uint8Array,
    {
      source,
      destination,
      port,
    }: { readonly source: Address; readonly destination: Address; readonly port: number },
  ): void {
    const packet = udpPacket(message, {
      source: addressBytes(source),
      destination: addressBytes(destination),
      sourcePort: port,
      destinationPort: port,
    });
    this.#sa.seal(packet, NextHeader.IPV4);
    this.#socket.send(packet, this.#to);
  }

  close(): void {
    this.#socket.close();
  }
}
