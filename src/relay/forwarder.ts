import { type AddressKey, addressKey, keyOfAddress } from '../forward/address-key.ts';
import { decide, type ForwardingTable, forwardingTable, type PacketSource } from '../forward/decision.ts';
import type { Exit } from '../forward/exit.ts';
import type { Packet } from '../link/packet.ts';
import type { AssignedAddresses, Tunnel } from '../link/sa-store.ts';
import { type IpHeader, parseIpHeader } from '../wire/ip.ts';
import type { RelayConfig } from './config.ts';
import type { Drops } from './data-plane.ts';
import { present } from './families.ts';
import type { RelayLink } from './relay-link.ts';
import { addDrops, type Traffic, TunnelSums } from './tunnel-sums.ts';

/** The overlay tunnel that a packet should leave through is down. */
const OVERLAY_DOWN = 'overlay-down';

/** Moves packets between clients, overlays, our own IKE and ESP, and the exit, as the forwarding decision says. */
export class Forwarder {
  readonly #link: RelayLink;
  #exit: Exit | undefined;
  #table: ForwardingTable;
  readonly #clients = new Map<AddressKey, Tunnel>();
  readonly #tunnels = new TunnelSums();
  readonly #drops: Record<string, number> = {};

  constructor(config: RelayConfig, link: RelayLink, exit: Exit | undefined) {
    this.#link = link;
    this.#exit = exit;
    this.#table = this.#tableOf(config);
    exit?.onReturn((packet) => this.#forward([packet], { kind: 'exit' }));
  }

  /** Decides by another configuration's peers and exit policy from now on. */
  adopt(config: RelayConfig): void {
    this.#table = this.#tableOf(config);
  }

  #tableOf(config: RelayConfig): ForwardingTable {
    return forwardingTable({
      addresses: present(config.own.addresses),
      pools: present(config.own.pools),
      peers: config.peers.map(({ keyId, addresses, pools }) => ({
        keyId,
        addresses: present(addresses),
        pools: present(pools),
      })),
      exitPolicy: config.exit?.policy,
      isClient: (address) => this.#clients.has(address),
    });
  }

  /** By the decision's reasons, the exit's, and those of ESP and its selectors. */
  get drops(): Drops {
    const drops = { ...this.#drops };
    addDrops(drops, this.#tunnels.drops);
    addDrops(drops, this.#exit?.counters ?? {});
    return drops;
  }

  get traffic(): Traffic {
    return this.#tunnels.traffic;
  }

  /** A client has been assigned addresses. @returns what to call when it is gone */
  addClient({ ip4, ip6 }: AssignedAddresses, tunnel: Tunnel): () => void {
    const assigned = [ip4, ip6?.address].filter((address) => address !== undefined).map(keyOfAddress);
    for (const key of assigned) this.#clients.set(key, tunnel);
    const remove = this.#addTunnel(tunnel, { kind: 'client', assigned });
    return () => {
      remove();
      for (const key of assigned) {
        this.#clients.delete(key);
        this.#exit?.releaseClient(key);
      }
    };
  }

  /** Why the exit has failed; undefined if it has not. */
  get exitProblem(): string | undefined {
    return this.#exit?.problem;
  }

  /** Nothing leaves from now on. */
  async closeExit(): Promise<void> {
    const exit = this.#exit;
    this.#exit = undefined;
    addDrops(this.#drops, exit?.counters ?? {});
    await exit?.close();
  }

  /** An overlay tunnel with a peer is up. @returns what to call when it is gone */
  addOverlay(peer: string, tunnel: Tunnel): () => void {
    return this.#addTunnel(tunnel, { kind: 'overlay', peer });
  }

  #addTunnel(tunnel: Tunnel, source: PacketSource): () => void {
    tunnel.onPackets((packets) => this.#forward(packets, source));
    return this.#tunnels.add(tunnel, source.kind === 'client' ? 'clients' : 'overlays');
  }

  #forward(packets: readonly Packet[], from: PacketSource): void {
    const outgoing = new Outgoing();
    const esp: { readonly packet: Packet; readonly header: IpHeader }[] = [];
    for (const packet of packets) {
      const { buffer } = packet;
      const parsed = parseIpHeader(buffer, packet.start, packet.end);
      const decision = decide(this.#table, buffer, parsed, from);
      const header = parsed!; // whatever is not dropped has one
      switch (decision.kind) {
        case 'overlay': {
          const overlay = this.#link.overlay(decision.peer);
          if (overlay === undefined) this.#count(OVERLAY_DOWN);
          else outgoing.add(overlay, packet);
          break;
        }
        case 'client':
          outgoing.add(this.#clients.get(decision.address)!, packet);
          break;
        case 'local-ike':
          if (from.kind === 'overlay') this.#link.receiveUdp(from.peer, packet, header);
          break;
        case 'local-esp':
          esp.push({ packet, header });
          break;
        case 'exit': {
          const reason = this.#exit?.send(packet, addressKey(buffer, header.source, header.family));
          if (reason !== undefined) this.#count(reason);
          break;
        }
        case 'drop':
          this.#count(decision.reason);
      }
    }
    if (from.kind === 'overlay') this.#link.receiveEsp(from.peer, esp);
    outgoing.flush();
  }

  #count(reason: string): void {
    this.#drops[reason] = (this.#drops[reason] ?? 0) + 1;
  }
}

/** Packets on their way out; neighbours for one tunnel leave together. */
class Outgoing {
  #tunnel: Tunnel | undefined;
  #packets: Packet[] = [];

  add(tunnel: Tunnel, packet: Packet): void {
    if (tunnel !== this.#tunnel) this.flush();
    this.#tunnel = tunnel;
    this.#packets.push(packet);
  }

  flush(): void {
    if (this.#packets.length > 0) this.#tunnel?.send(this.#packets);
    this.#packets = [];
  }
}
