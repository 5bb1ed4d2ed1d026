import { ExchangeType, NotifyType } from '../../src/ike/constants.ts';
import { NoAnswerError } from '../../src/ike/errors.ts';
import { HEADER_LENGTH } from '../../src/ike/header.ts';
import { peekHeader } from '../../src/ike/message.ts';
import type { Connection } from './daemons/daemon.ts';
import { expect, expectSoon } from './expect.ts';
import type { Feature } from './feature.ts';
import type { Running } from './running.ts';
import { pause } from './transfer.ts';

// What libreswan sends when it is told to be at fault, and what RFC 7296 wants of its peer then.

/** Where they are in the header (RFC 7296 3.1). */
const VERSION = 17;
const FLAGS = 19;
const RESERVED_FLAGS = 0b1100_0111;

const impaired =
  (...impair: readonly string[]) =>
  (): Partial<Connection> => ({ impair });

const ADDS_UNKNOWN = /IMPAIR: adding an unknown payload of type/;
const ADDS_CRITICAL = /IMPAIR: adding an unknown critical payload of type/;

/** The fault makes no difference. @param isSeen - whether the daemon has had it */
function harmless(
  isSeen: (cell: Running) => boolean | Promise<boolean>,
): Pick<Feature, 'daemons' | 'isPatient' | 'run'> {
  return {
    daemons: /^libreswan/,
    run: async (cell) => {
      await cell.establish();
      await cell.exchangeFiles();
      const before = spis(cell);
      expect(await cell.connection.checkLiveness(), true, 'the answer to a liveness check');
      await cell.agree();
      expect(spis(cell), before, 'what identifies the SAs');
      await expectSoon(() => isSeen(cell), true, 'that the daemon has had its fault');
    },
  };
}

/** No IKE SA comes of it, and we have none left. A response that is refused is as good as none. */
function refused(
  prove: (cell: Running) => void | Promise<void>,
): Pick<Feature, 'daemons' | 'isPatient' | 'run'> {
  return {
    isPatient: true,
    daemons: /^libreswan/,
    run: async (cell) => {
      const isInitiator = cell.spec.role === 'responder';
      const attempt: Promise<unknown> = isInitiator ? cell.ours.connect() : cell.daemon.initiate();
      const error = await attempt.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error === undefined) throw new Error('there is an IKE SA that we should have refused');
      if (isInitiator && !(error instanceof NoAnswerError)) throw new Error(`our error is ${String(error)}`);
      expect(cell.ours.accepted === undefined, true, 'that we have no Child SA');
      await cell.until('our IKE SA to be gone', () => cell.ours.endpoint.size === 0);
      // A responder has its Child SA before it can know what we think of its response.
      const { children } = await cell.daemon.sas();
      if (!isInitiator) expect(children.length, 0, 'the number of the daemon’s Child SAs');
      await prove(cell);
    },
  };
}

const logs =
  (...patterns: readonly RegExp[]) =>
  async ({ daemon }: Running) => {
    const log = await daemon.log();
    return patterns.every((pattern) => pattern.test(log));
  };

const sends = (test: (message: Uint8Array) => boolean) => (cell: Running) => {
  for (const { content } of cell.traffic.of('ours', 'ike'))
    expect(test(content), false, 'that we do the same');
  return cell.traffic.of('theirs', 'ike').every(({ content }) => test(content));
};

async function expectLog(cell: Running, ...patterns: readonly RegExp[]): Promise<void> {
  await cell.until(`the daemon to log ${patterns.join()}`, () => logs(...patterns)(cell));
}

/** An IKE_SA_INIT request that we answer so; a response that we do not take is not answered, and nothing comes after it. */
async function expectAnswer(cell: Running, notify: number): Promise<void> {
  const isAsked = cell.spec.role === 'initiator';
  const wanted = isAsked ? [notify] : [];
  await expectSoon(() => cell.traffic.notifies('ours'), wanted, 'what we said in the clear');
  const exchanges = cell.traffic.of('ours', 'ike').map(({ content }) => peekHeader(content)!.exchangeType);
  expect([...new Set(exchanges)], [ExchangeType.IKE_SA_INIT], 'the exchanges that we took part in');
}

const spis = ({ sas }: Running) => ({
  ike: [sas!.ike!.spiI, sas!.ike!.spiR],
  children: sas!.children.map(({ spiIn, spiOut }) => [spiIn, spiOut]),
});

/** How many different messages of an end have the same place in an IKE SA, at most; how often the same one was sent, at most. */
function copies({ traffic }: Running, end: 'ours' | 'theirs'): { different: number; same: number } {
  const places = new Map<string, Map<string, number>>();
  for (const { content } of traffic.of(end, 'ike')) {
    const { spiI, exchangeType, messageId, flags } = peekHeader(content)!;
    const place = `${spiI} ${exchangeType} ${messageId} ${flags.response} ${flags.initiator}`;
    const texts = places.get(place) ?? new Map<string, number>();
    const text = String(content);
    places.set(place, texts.set(text, (texts.get(text) ?? 0) + 1));
  }
  const all = [...places.values()];
  return {
    different: Math.max(...all.map(({ size }) => size)),
    same: Math.max(...all.flatMap((texts) => [...texts.values()])),
  };
}

export const HOSTILE = {
  'unknown payload in IKE_SA_INIT': {
    source: 'RFC 7296 2.5',
    connection: impaired('add_unknown_v2_payload_to:IKE_SA_INIT'),
    ...harmless(logs(ADDS_UNKNOWN)),
  },
  'unknown payload in IKE_AUTH': {
    source: 'RFC 7296 2.5',
    connection: impaired('add_unknown_v2_payload_to_sk:IKE_AUTH'),
    ...harmless(logs(ADDS_UNKNOWN)),
  },
  'unknown critical payload in IKE_SA_INIT': {
    source: 'RFC 7296 2.5',
    connection: impaired('add_unknown_v2_payload_to:IKE_SA_INIT', 'unknown_v2_payload_critical'),
    ...refused(async (cell) => {
      await expectLog(cell, ADDS_CRITICAL);
      await expectAnswer(cell, NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD);
      const log = await cell.daemon.log();
      const type = Number(/payload of type (\d+)/.exec(log)![1]);
      // Notify data: the one octet of the payload type.
      for (const { content } of cell.traffic.of('ours', 'ike'))
        if (cell.spec.role === 'initiator')
          expect([...content.subarray(HEADER_LENGTH + 8)], [type], 'the payload type that we name');
    }),
  },
  'unknown critical payload in IKE_AUTH': {
    source: 'RFC 7296 2.5',
    connection: impaired('add_unknown_v2_payload_to_sk:IKE_AUTH', 'unknown_v2_payload_critical'),
    ...refused(async (cell) => {
      await expectLog(cell, ADDS_CRITICAL);
      if (cell.spec.role === 'initiator') await expectLog(cell, /UNSUPPORTED_CRITICAL_PAYLOAD/);
    }),
  },
  'unknown critical payload in CREATE_CHILD_SA': {
    source: 'RFC 7296 2.5, 2.21.3',
    // Others do not put it in there.
    daemons: /^libreswan-5/,
    connection: impaired('add_unknown_v2_payload_to_sk:CREATE_CHILD_SA', 'unknown_v2_payload_critical'),
    run: async (cell) => {
      await cell.establish();
      await cell.exchangeFiles();
      const before = spis(cell);
      await cell.daemon.rekey('child');
      await expectLog(cell, ADDS_CRITICAL, /UNSUPPORTED_CRITICAL_PAYLOAD/);
      expect(await cell.connection.checkLiveness(), true, 'the answer to a liveness check');
      await cell.agree();
      expect(spis(cell), before, 'what identifies the SAs');
      await cell.exchangeFiles();
    },
  },
  'higher minor version': {
    source: 'RFC 7296 2.5',
    connection: impaired('minor_version_bump'),
    ...harmless(sends((message) => message[VERSION] === 0x21)),
  },
  'higher major version': {
    source: 'RFC 7296 2.5',
    connection: impaired('major_version_bump'),
    ...refused(async (cell) => {
      await expectAnswer(cell, NotifyType.INVALID_MAJOR_VERSION);
      const isBumped = (message: Uint8Array) => message[VERSION] === 0x30;
      await expectSoon(() => sends(isBumped)(cell), true, 'that the daemon has had its fault');
    }),
  },
  'reserved flags of the header': {
    source: 'RFC 7296 3.1',
    connection: impaired('send_bogus_isakmp_flag'),
    ...harmless(sends((message) => (message[FLAGS] & RESERVED_FLAGS) !== 0)),
  },
  'reserved flags of payloads': {
    source: 'RFC 7296 3.2',
    connection: impaired('send_bogus_payload_flag'),
    ...harmless(logs(/IMPAIR: adding bogus bit to critical octet/)),
  },
  'reserved fields that are not zero': {
    source: 'RFC 7296 2.15, 3.3, 3.5',
    connection: impaired('send_nonzero_reserved', 'send_nonzero_reserved_id'),
    ...harmless(logs(/IMPAIR: setting reserved byte/, /IMPAIR: setting zero\/ignore field/)),
  },
  'every message twice': {
    source: 'RFC 7296 2.1, 2.3',
    daemons: /^libreswan/,
    connection: impaired('jacob_two_two'),
    run: async (cell) => {
      await cell.establish();
      await cell.exchangeFiles();
      const before = spis(cell);
      await cell.daemon.rekey('child');
      await cell.until('a new Child SA', async () => {
        const { children } = await cell.daemon.sas();
        return children.length === 1 && children[0].spiIn !== before.children[0][0];
      });
      expect(await cell.connection.checkLiveness(), true, 'the answer to a liveness check');
      await pause(500);
      await cell.agree();
      expect(spis(cell).ike, before.ike, 'what identifies the IKE SA');
      await cell.exchangeFiles();
      expect(cell.ours.endpoint.size, 1, 'the number of our IKE SAs');
      expect(copies(cell, 'theirs').same > 1, true, 'that the daemon sent a message twice');
      expect(copies(cell, 'ours').different, 1, 'the number of our answers to the same message');
    },
  },
} as const satisfies Record<string, Feature>;
