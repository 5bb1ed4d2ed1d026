import { ExchangeType, NotifyType } from '../../src/ike/constants.ts';
import { AuthenticationError, type IkeError, NoAnswerError, RefusedError } from '../../src/ike/errors.ts';
import { peekHeader } from '../../src/ike/message.ts';
import { type Address, addressText, parsePrefix } from '../../src/wire/address.ts';
import { utf8 } from '../../src/wire/bytes.ts';
import { prefixSelector, type TrafficSelector } from '../../src/wire/traffic-selector.ts';
import type { Proof } from './daemons/daemon.ts';
import { expect, expectSoon } from './expect.ts';
import { assigned, establish, type Feature, networksOfBoth } from './feature.ts';
import { HOSTILE } from './hostile.ts';
import { MOBILITY } from './mobility.ts';
import { NAT } from './nat.ts';
import { REKEYING } from './rekeying.ts';
import type { Running } from './running.ts';

/** A Child SA with the peer's address, and a file each way: the ordinary cell. */
const plain: Feature = { source: 'RFC 7296 1.2' };

/** The end that is the responder has to be refused, or refuses. */
async function expectRefusal(
  cell: Running,
  said: RegExp,
  ...types: (new (
    ...args: never[]
  ) => IkeError)[]
): Promise<void> {
  if (cell.spec.role === 'responder') {
    const error = await cell.ours.connect().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!types.some((type) => error instanceof type)) throw new Error(`our error is ${String(error)}`);
  } else {
    const error = await cell.daemon.initiate().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (error === undefined) throw new Error('the daemon has an IKE SA that we refused');
    expect(cell.ours.accepted === undefined, true, 'that we have no Child SA');
    await cell.until(`the daemon to hear of it: ${said}`, async () => said.test(await cell.daemon.log()));
  }
  const { children } = await cell.daemon.sas();
  expect(children.length, 0, 'the number of the daemon’s Child SAs');
}

const selectorText = ({ startAddress, endAddress }: TrafficSelector) =>
  `${addressText(startAddress)}-${addressText(endAddress)}`;

function otherSecret(proof: Proof): Proof {
  return proof.kind === 'psk' ? { ...proof, secret: `not ${proof.secret}` } : proof;
}

/** The initiator, whoever that is, is told of one. */
function nameServers(family: 4 | 6, address: Address): Feature {
  return {
    source: 'RFC 7296 3.15.1',
    connection: (base) => ({ ...assigned(family)(base), dns: [address] }),
    run: async (cell) => {
      await establish(cell);
      if (cell.spec.role === 'responder')
        expect(cell.connection.child!.info.assigned!.dns, [address], 'the name server');
      else
        await cell.until('the daemon to know the name server', async () =>
          (await cell.daemon.log()).includes(address),
        );
    },
  };
}

export const FEATURES = {
  plain,
  'virtual address IPv6': { source: 'RFC 7296 2.19', connection: assigned(6) },
  'virtual addresses of both families': { source: 'RFC 7296 2.19', connection: assigned(4, 6) },
  'name servers': nameServers(4, '10.77.0.53'),
  'IPv6 name servers': nameServers(6, 'fd77::53'),
  'networks of both ends': {
    source: 'RFC 7296 2.9',
    connection: () => networksOfBoth,
  },
  narrowing: {
    source: 'RFC 7296 2.9',
    connection: ({ role }) => ({
      ...networksOfBoth,
      ...(role === 'initiator' && { remoteTs: ['10.64.0.0/10'] }),
    }),
    ours: ({ role }) => ({
      connection:
        role === 'responder' ? { localTs: ['10.64.0.0/10'] } : { remoteTs: networksOfBoth.remoteTs },
    }),
    run: async (cell) => {
      await establish(cell);
      const { local, remote } = cell.connection.child!.tunnel.policy;
      expect(local.map(selectorText), ['10.88.0.0-10.88.0.255'], 'our side');
      expect(remote.map(selectorText), ['10.77.0.0-10.77.0.255'], 'the daemon’s side');
    },
  },
  ...REKEYING,
  'liveness check by us': {
    source: 'RFC 7296 2.4',
    run: async (cell) => {
      await establish(cell);
      for (let round = 0; round < 3; round++)
        expect(await cell.connection.checkLiveness(), true, 'the answer to a liveness check');
    },
  },
  'liveness checks by the daemon': {
    isPatient: true,
    source: 'RFC 7296 2.4',
    connection: () => ({ dpdDelay: 1 }),
    run: async (cell) => {
      await establish(cell);
      const { traffic } = cell;
      const idsOf = (messages: Uint8Array[]) => new Set(messages.map((each) => peekHeader(each)!.messageId));
      await cell.until('answers to all of several checks', () => {
        const asked = idsOf(traffic.requests('theirs', ExchangeType.INFORMATIONAL));
        const answered = idsOf(traffic.responses('ours', ExchangeType.INFORMATIONAL));
        return asked.size >= 3 && [...asked].every((id) => answered.has(id));
      });
      await cell.agree();
      await cell.exchangeFiles();
    },
  },
  'daemon that is gone': {
    isPatient: true,
    source: 'RFC 7296 2.4',
    run: async (cell) => {
      await establish(cell);
      await cell.daemon.close();
      expect(await cell.connection.checkLiveness(), false, 'the answer to a liveness check');
      const error = await cell.connection.closed;
      if (!(error instanceof NoAnswerError)) throw new Error(`our error is ${error}`);
    },
  },
  'IKE SA deleted by us': {
    source: 'RFC 7296 1.4.1',
    run: async (cell) => {
      await establish(cell);
      await cell.ours.endpoint.closeConnection(cell.connection);
      await cell.until('the daemon to delete its SAs', async () => {
        const { ike, children } = await cell.daemon.sas();
        return ike === undefined && children.length === 0;
      });
    },
  },
  'IKE SA deleted by the daemon': {
    source: 'RFC 7296 1.4.1',
    run: async (cell) => {
      await establish(cell);
      await cell.daemon.terminate('ike');
      await expectSoon(() => cell.ours.endpoint.size, 0, 'the number of our IKE SAs');
      expect(cell.connection.child === undefined, true, 'that our Child SA is gone');
    },
  },
  'Child SA deleted by us': {
    source: 'RFC 7296 1.4.1',
    run: async (cell) => {
      await establish(cell);
      cell.connection.closeChild(cell.connection.child!.tunnel.policy.id);
      await cell.until('the daemon to delete its Child SA', async () => {
        const { children } = await cell.daemon.sas();
        return children.length === 0;
      });
      await cell.until('ours to be gone', () => cell.connection.child === undefined);
    },
  },
  'Child SA deleted by the daemon': {
    source: 'RFC 7296 1.4.1',
    run: async (cell) => {
      await establish(cell);
      await cell.daemon.terminate('child');
      await cell.until('us to delete our Child SA', () => cell.connection.child === undefined);
    },
  },
  COOKIE: {
    source: 'RFC 7296 2.6',
    connection: ({ role }) => ({ cookies: role === 'responder' }),
    ours: () => ({ listener: { cookieThreshold: 0 } }),
    run: async (cell) => {
      await establish(cell);
      const from = cell.spec.role === 'responder' ? 'theirs' : 'ours';
      await expectSoon(() => cell.traffic.notifies(from), [NotifyType.COOKIE], 'what was said in the clear');
    },
  },
  INVALID_KE_PAYLOAD: {
    source: 'RFC 7296 1.3',
    connection: ({ role, suites }) =>
      role === 'responder'
        ? { suites: { ...suites, ike: 'aes128gcm16-prfsha256-ecp256' } }
        : { suites: { ...suites, ike: 'aes128gcm16-prfsha256-modp3072-ecp256' } },
    ours: ({ role, suites }) => ({
      connection: {
        suites: {
          ...suites,
          ike:
            role === 'responder' ? 'aes128gcm16-prfsha256-modp3072-ecp256' : 'aes128gcm16-prfsha256-ecp256',
        },
      },
    }),
    run: async (cell) => {
      await establish(cell);
      const from = cell.spec.role === 'responder' ? 'theirs' : 'ours';
      const wanted = [NotifyType.INVALID_KE_PAYLOAD];
      await expectSoon(() => cell.traffic.notifies(from), wanted, 'what was said in the clear');
    },
  },
  fragmentation: {
    source: 'RFC 7383',
    authentication: 'X.509 RSA-PSS',
    connection: () => ({ fragmentSize: 576 }),
    ours: () => ({ initiator: { pathMtu: 576 }, responder: { pathMtu: 576 } }),
    run: async (cell) => {
      await establish(cell);
      for (const end of ['ours', 'theirs'] as const)
        await expectSoon(() => cell.traffic.fragments(end) > 1, true, `that there are fragments of ${end}`);
    },
  },
  ...NAT,
  ...MOBILITY,
  'extended sequence numbers': {
    source: 'RFC 4303 2.2.1',
    connection: ({ suites }) => ({ suites: { ...suites, esp: `${suites.esp}-esn` } }),
  },
  childless: {
    source: 'RFC 6023',
    connection: () => ({ ...networksOfBoth, childless: true }),
    run: async (cell) => {
      if (cell.spec.role === 'responder') {
        const connection = await cell.connect();
        expect(connection.child === undefined, true, 'that there is no Child SA yet');
        const [tsI, tsR] = [networksOfBoth.remoteTs, networksOfBoth.localTs].map((prefixes) =>
          prefixes.map((prefix) => prefixSelector(parsePrefix(prefix))),
        );
        await connection.createChild({ tsI, tsR });
        await cell.agree();
        await cell.exchangeFiles();
      } else await establish(cell);
    },
  },
  'postquantum preshared key': {
    source: 'RFC 8784',
    authentication: 'PSK',
    connection: () => postquantumKey,
  },
  'postquantum preshared key without authentication': {
    source: 'RFC 8784 3, RFC 7619 2.1',
    authentication: 'NULL, ECDSA P-256',
    daemons: /^libreswan/,
    connection: () => postquantumKey,
  },
  'several key exchanges': {
    source: 'RFC 9370',
    connection: ({ suites }) => ({ suites: { ...suites, ike: `${suites.ike}-ke1_ecp256` } }),
  },
  'ML-KEM-768 in IKE_INTERMEDIATE': {
    source: 'RFC 9242, RFC 9370',
    connection: ({ suites }) => ({ suites: { ...suites, ike: `${suites.ike}-ke1_mlkem768` } }),
  },
  'forged ESP': {
    source: 'RFC 4303 3.4.4.1',
    run: async (cell) => {
      await cell.establish();
      const { tunnel } = cell.connection.child!;
      const { ours, socket } = cell.ends(4);
      let arrived = 0;
      tunnel.onPackets((packets) => {
        arrived += packets.length;
      });
      // The only one that is on its way.
      socket.send(Uint8Array.of(1), ours, 7);
      const packet = await cell.until('an ESP packet', () =>
        arrived === 0 ? undefined : cell.traffic.of('theirs').find(({ kind }) => kind.startsWith('esp')),
      );
      // Newer than all before, in case only the replay window were in its way.
      for (const at of [packet.content.length - 1, 20]) {
        const forged = packet.content.slice();
        forged[6] = 0x40;
        forged[at] ^= 1;
        const counted = tunnel.counters['bad-icv'] ?? 0;
        cell.inject(forged, packet.kind);
        await cell.until(
          'it to be counted',
          () => (tunnel.counters['bad-icv'] ?? 0) > counted || arrived > 1,
        );
      }
      expect(arrived, 1, 'the number of packets that were delivered');
      await cell.exchangeFiles();
    },
  },
  'wrong secret': {
    source: 'RFC 7296 2.21.2',
    authentication: 'PSK',
    ours: ({ local, remote }) => ({ connection: { local: otherSecret(local), remote: otherSecret(remote) } }),
    run: (cell) => expectRefusal(cell, /AUTH(ENTICATION)?_FAILED/, RefusedError, AuthenticationError),
  },
  'no suite in common': {
    isPatient: true,
    source: 'RFC 7296 2.7',
    ours: ({ suites }) => ({
      connection: { suites: { ...suites, ike: 'aes256-sha512-prfsha512-modp4096' } },
    }),
    run: (cell) => expectRefusal(cell, /NO_PROP/, RefusedError),
  },
  ...HOSTILE,
} as const satisfies Record<string, Feature>;

export type FeatureName = keyof typeof FEATURES;

const postquantumKey = {
  ppk: { id: 'ppk.example', secret: utf8('0123456789abcdef0123456789abcdef'), required: true },
};
