import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import { Endpoint, type Listener } from '../../src/endpoint/endpoint.ts';
import type { AddressKey } from '../../src/forward/address-key.ts';
import type { Exit, ReturnHandler } from '../../src/forward/exit.ts';
import type { PeerClaim, ResponderProfile } from '../../src/ike/config.ts';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { Point, PointId } from '../../src/probe/point.ts';
import { type ProbeOptions, type ProbeReport, probe } from '../../src/probe/probe.ts';
import { IpProtocol, internetChecksum, parseIpHeader } from '../../src/wire/ip.ts';
import { responderConfig } from '../support/ike-configs.ts';
import type { SimNetwork } from '../support/sim-network.ts';
import type { VirtualClock } from '../support/virtual-clock.ts';

export const crypto = nodeProvider();

/** The responder that a test makes by itself. */
export const RESPONDER = '192.0.2.1';

/** Probes a host of a simulated network that has the name `name`, over one edge. */
export async function probeOver(
  network: SimNetwork,
  clock: VirtualClock,
  name: string,
  options: Partial<ProbeOptions> = {},
): Promise<ProbeReport & { readonly status: Readonly<Record<PointId, Point['status']>> }> {
  let clients = 0;
  const report = await clock.until(
    probe({
      crypto,
      clock,
      address: RESPONDER,
      encapsulated: false,
      publicSharedKey: 'anonymous',
      relays: [],
      async openLink() {
        const client = `client-${++clients}`;
        const address = `203.0.113.${clients}`;
        network.join(client, name, 1);
        return network.host(client, address);
      },
      ...options,
    }),
  );
  const status = Object.fromEntries(report.points.map((point) => [point.id, point.status]));
  return { ...report, status: status as Record<PointId, Point['status']> };
}

/** A host `r` that answers IKE as `profile` says; its Child SAs carry nothing on. */
export async function respond(
  network: SimNetwork,
  clock: VirtualClock,
  profile: (claim: PeerClaim) => ResponderProfile | undefined,
  more: Partial<Listener> = {},
): Promise<Endpoint> {
  const link = network.host('r', RESPONDER);
  const endpoint = await Endpoint.open({ link, backend: userSpaceBackend(crypto), crypto, clock });
  endpoint.listen({
    config: { ...responderConfig(crypto, {} as ResponderProfile), profile },
    cookieThreshold: 1_000,
    maxHalfOpen: 1_000,
    onChild() {},
    onClosed() {},
    ...more,
  });
  return endpoint;
}

/** An exit to an Internet of hosts that answer, with the marks of the question. */
export class AnsweringExit implements Exit {
  readonly kind = 'socket';
  readonly counters = {};
  #handler: ReturnHandler | undefined;

  send(packet: Packet, client: AddressKey): undefined {
    const bytes = packetBytes(packet).slice();
    const header = parseIpHeader(bytes, 0, bytes.length)!;
    const { source, destination, payload, protocol } = header;
    const answer = bytes.slice();
    answer.set(bytes.subarray(source, destination), destination);
    answer.set(bytes.subarray(destination, payload), source);
    if (protocol === IpProtocol.ICMP) {
      answer.set([0, 0, 0, 0], payload);
      const sum = internetChecksum(answer, payload, answer.length);
      answer.set([sum >> 8, sum & 255], payload + 2);
    } else {
      answer.set(bytes.subarray(payload, payload + 2), payload + 2);
      answer.set(bytes.subarray(payload + 2, payload + 4), payload);
    }
    this.#handler?.(packetFrom(answer), client);
    return undefined;
  }

  onReturn(handler: ReturnHandler): void {
    this.#handler = handler;
  }

  releaseClient(): void {}

  async close(): Promise<void> {}
}
