import { performance } from 'node:perf_hooks';
import { AddressPool } from '../src/cp/address-pool.ts';
import type { CryptoProvider } from '../src/crypto/provider.ts';
import type { InitiatorConfig, ResponderConfig } from '../src/ike/config.ts';
import { IdType } from '../src/ike/constants.ts';
import { IkeLineage } from '../src/ike/lineage.ts';
import { defaultChildProposals, defaultIkeProposals } from '../src/ike/proposal.ts';
import type { Origin } from '../src/link/link.ts';
import { parsePrefix } from '../src/wire/address.ts';
import { anySelector } from '../src/wire/traffic-selector.ts';

const RETRANSMISSION = { first: 500, factor: 2, cap: 4_000, tries: 30 };
const ORIGIN: Origin = {
  linkId: 'bench',
  address: '192.0.2.1',
  port: 500,
  localAddress: '192.0.2.2',
  localPort: 500,
  encapsulated: false,
};

/** CPU of the responder's half of a handshake: NULL client, Ed25519 relay, X25519, AES-256-GCM, an address by CP. */
export function responderHandshakes(
  crypto: CryptoProvider,
  count: number,
): { readonly perSecond: number; readonly microseconds: number } {
  const key = crypto.signatures.generate('ed25519');
  const initiator: InitiatorConfig = {
    crypto,
    ikeProposals: defaultIkeProposals,
    childProposals: defaultChildProposals,
    retransmission: RETRANSMISSION,
    local: { kind: 'null' },
    remote: { kind: 'signature', publicKey: key.publicKey },
    child: {
      tsI: [anySelector(4)],
      tsR: [anySelector(4)],
      addresses: { ip4: true, ip4Dns: true, ip6: false, ip6Dns: false },
    },
    acceptChild: () => undefined,
    initialContact: false,
    natDetection: false,
  };
  const identity = { type: IdType.ID_KEY_ID, data: new Uint8Array(16) };
  const responder: ResponderConfig = {
    crypto,
    ikeProposals: defaultIkeProposals,
    childProposals: defaultChildProposals,
    retransmission: RETRANSMISSION,
    halfOpenTimeout: 15_000,
    profile: () => ({
      name: 'anonymous',
      local: { kind: 'signature', identity, key, sendKey: false },
      remote: { kind: 'null' },
      tsLocal: [anySelector(4)],
      tsRemote: [],
      assigner: pool,
    }),
  };
  const pool = new AddressPool({ ip4: parsePrefix('10.0.0.0/8'), random: (length) => crypto.random(length) });
  let spent = 0;
  const timed = <T>(action: () => T): T => {
    const started = performance.now();
    const result = action();
    spent += performance.now() - started;
    return result;
  };
  const warmUp = Math.min(20, count);
  for (let i = -warmUp; i < count; i++) {
    if (i === 0) spent = 0;
    const client = IkeLineage.initiate(initiator, ORIGIN, 0);
    const [init] = drain(client);
    const relay = timed(() => IkeLineage.respond(responder, init, ORIGIN, 0));
    client.handleDatagram(timed(() => drain(relay))[0], ORIGIN, 0);
    const [auth] = drain(client);
    timed(() => relay.handleDatagram(auth, ORIGIN, 0));
    client.handleDatagram(timed(() => drain(relay))[0], ORIGIN, 0);
    drain(client);
    if (!client.established || !relay.established) throw new Error('the handshake did not complete');
    for (const ike of [client, relay]) {
      ike.abort(0);
      drain(ike);
    }
  }
  return { perSecond: Math.round((count / spent) * 1000), microseconds: Math.round((spent / count) * 1000) };
}

let nextSpi = 256;

/** Drains an IKE SA whose backend does everything at once; returns the messages it sends. */
function drain(ike: IkeLineage): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let output = ike.poll(); output !== undefined; output = ike.poll()) {
    if (output.kind === 'transmit') messages.push(output.message);
    if (output.kind === 'operation') ike.handleCompleted(output.id, { ok: true, spi: nextSpi++ }, 0);
  }
  return messages;
}
