// Three relays in this process, on 127.0.0.0/8 and ports that need no privileges. Each is a peer of the others, and an exit that
// answers datagrams itself instead of letting them out.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AddressKey,
  DropReason,
  defaultProvider,
  type Exit,
  encodeKeyFile,
  HostLink,
  loadRelayConfig,
  type Packet,
  packetBytes,
  packetFrom,
  Relay,
  type RelayDescriptor,
  type ReturnHandler,
} from 'ike-telescope';

const PORTS = { ikePort: 20_500, encapsulatedPort: 24_500 };
const NAMES = ['a', 'b', 'c'];

export interface LocalRelays {
  readonly relays: readonly Relay[];
  /** As `openTelescope` wants it: a, b, c. */
  readonly path: readonly RelayDescriptor[];
  /** Where their descriptor files are. */
  readonly directory: string;
  close(): Promise<void>;
}

/** Resolves when the overlay tunnels are up. */
export async function openLocalRelays(): Promise<LocalRelays> {
  const root = mkdtempSync(join(tmpdir(), 'local-relays-'));
  const directory = join(root, 'descriptors');
  mkdirSync(directory);
  // What an operator writes and exchanges: key, relay.yaml (JSON is YAML), and from them the signed descriptor.
  const write = (file: string, content: string) => writeFileSync(join(root, file), content, { mode: 0o600 });
  const load = (name: string) => loadRelayConfig(join(root, `relay-${name}.yaml`));
  const configure = (name: string, peers: readonly string[]) => {
    const index = NAMES.indexOf(name) + 1;
    const settings = {
      name,
      key: `${name}.pem`,
      address: { ip4: `127.77.1.${index}` },
      pool: { ip4: `10.${200 + index}.0.0/16` },
      peers: peers.map((peer) => `descriptors/${peer}.yaml`),
      exit: { kind: 'sockets' },
      encapsulation: 'udp',
      mtu: 1500,
      ...PORTS,
    };
    write(`relay-${name}.yaml`, JSON.stringify(settings));
  };
  for (const name of NAMES) {
    write(`${name}.pem`, encodeKeyFile(defaultProvider().signatures.generate('ed25519')));
    configure(name, []);
    write(`descriptors/${name}.yaml`, load(name).descriptor);
  }
  for (const name of NAMES)
    configure(
      name,
      NAMES.filter((other) => other !== name),
    );

  const configs = NAMES.map(load);
  const relays: Relay[] = [];
  for (const config of configs) relays.push(await Relay.open({ config, exit: new EchoExit() }));
  await Promise.all(relays.map(({ ready }) => ready));
  return {
    relays,
    path: configs.map(({ own }) => own),
    directory,
    async close() {
      await Promise.all(relays.map((relay) => relay.close()));
      rmSync(root, { recursive: true });
    },
  };
}

/** The network of a client of theirs. */
export function localLink(): HostLink {
  return new HostLink({
    address: '127.77.1.100',
    mtu: 1500,
    ikePort: 0,
    encapsulatedPort: 0,
    peerIkePort: PORTS.ikePort,
    peerEncapsulatedPort: PORTS.encapsulatedPort,
    encapsulatedOnly: true,
  });
}

/** Sends every IPv4 UDP datagram back to the client, as if its destination had. */
class EchoExit implements Exit {
  readonly kind = 'socket';
  readonly counters = {};
  #handler: ReturnHandler | undefined;

  send(packet: Packet, client: AddressKey): DropReason | undefined {
    const answer = packetFrom(packetBytes(packet)); // the slot is the relay's again when this returns
    const { buffer, start } = answer;
    const [version, protocol] = [buffer[start] >> 4, buffer[start + 9]];
    if (version !== 4 || protocol !== 17) return DropReason.NOT_SENT;
    // Source and destination change places, which leaves the checksums right.
    swap(buffer, start + 12, start + 16, 4);
    swap(buffer, start + 20, start + 22, 2);
    queueMicrotask(() => this.#handler?.(answer, client));
    return undefined;
  }

  onReturn(handler: ReturnHandler): void {
    this.#handler = handler;
  }

  releaseClient(): void {}

  async close(): Promise<void> {
    this.#handler = undefined;
  }
}

function swap(buffer: Uint8Array, a: number, b: number, length: number): void {
  const kept = buffer.slice(a, a + length);
  buffer.copyWithin(a, b, b + length);
  buffer.set(kept, b);
}
