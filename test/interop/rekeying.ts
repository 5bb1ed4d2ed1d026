import { ExchangeType } from '../../src/ike/constants.ts';
import type { Connection } from './daemons/daemon.ts';
import { expect, expectSoon } from './expect.ts';
import { establish, type Feature } from './feature.ts';
import type { Running } from './running.ts';
import { streamDuring } from './transfer.ts';

/** After what `action` does, both ends have other SAs of the kind, the same at both, and carry on. */
function replacing(what: 'ike' | 'child', action: (cell: Running) => Promise<void> | void) {
  return async (cell: Running) => {
    await establish(cell);
    const before = cell.sas!;
    await action(cell);
    await cell.until(`a new ${what === 'ike' ? 'IKE SA' : 'Child SA'}`, async () => {
      const { ike, children } = await cell.daemon.sas();
      return what === 'ike'
        ? ike !== undefined && ike.spiI !== before.ike!.spiI && ike.spiR !== before.ike!.spiR
        : children.length === 1 && children.every(({ spiIn }) => spiIn !== before.children[0].spiIn);
    });
    const { ike, children } = await cell.agree();
    // The other kind has stayed what it was.
    if (what === 'ike') expect(children[0].spiIn, before.children[0].spiIn, 'the Child SA');
    else expect(ike!.spiI, before.ike!.spiI, 'the IKE SA');
    await cell.exchangeFiles();
    expect(await cell.connection.checkLiveness(), true, 'the answer to a liveness check');
    await cell.agreeOnIkeSa();
  };
}

/** Both ends ask for a rekey before either has heard of the other's. */
function collide(what: 'ike' | 'child', ours: (cell: Running) => void) {
  return async (cell: Running) => {
    const { ours: end, traffic, daemon } = cell;
    const theirs = () => traffic.requests('theirs', ExchangeType.CREATE_CHILD_SA).length;
    const before = theirs();
    end.link.hold();
    ours(cell);
    await Promise.all([
      daemon.rekey(what),
      cell.until('the daemon’s request', () => theirs() > before).finally(() => end.link.release()),
    ]);
  };
}

/** Our rekeys, the daemon's, or both at once. */
const rekeys = {
  ours: {
    ike: ({ connection }: Running) => connection.rekey(),
    child: ({ connection }: Running) => connection.rekeyChildren(),
  },
  theirs: {
    ike: ({ daemon }: Running) => daemon.rekey('ike'),
    child: ({ daemon }: Running) => daemon.rekey('child'),
  },
  colliding: {
    ike: collide('ike', ({ connection }) => connection.rekey()),
    child: collide('child', ({ connection }) => connection.rekeyChildren()),
  },
} as const;

const withKeyExchange = (base: Connection) => ({
  suites: { ...base.suites, esp: `${base.suites.esp}-${keyExchangeOf(base)}` },
});

/** The key exchange of the IKE suite, which is the last of its keywords. */
function keyExchangeOf({ suites }: Connection): string {
  return suites.ike.split('-').at(-1)!;
}

/** Each SA is made with another key exchange besides the usual one, `method`. */
function withSeveral(
  what: 'ike' | 'child',
  who: 'ours' | 'theirs',
  method: string,
  daemons: RegExp,
): Feature {
  return {
    daemons,
    source: 'RFC 9370 2.2.4',
    connection: (base) => {
      const { ike } = base.suites;
      const { esp } = withKeyExchange(base).suites;
      return { suites: { ike: `${ike}-ke1_${method}`, esp: `${esp}-ke1_${method}` } };
    },
    run: async (cell) => {
      await replacing(what, rekeys[who][what])(cell);
      for (const [asks, answers] of [
        ['ours', 'theirs'],
        ['theirs', 'ours'],
      ] as const) {
        const isAsked = asks === who;
        const seen = () => [
          cell.traffic.requests(asks, ExchangeType.IKE_FOLLOWUP_KE).length > 0,
          cell.traffic.responses(answers, ExchangeType.IKE_FOLLOWUP_KE).length > 0,
        ];
        await expectSoon(seen, [isAsked, isAsked], `IKE_FOLLOWUP_KE, asked and answered by ${asks}`);
      }
    },
  };
}

const SEVERAL = /^strongswan-6/;
const ML_KEM = /^strongswan-6.1/;

export const REKEYING = {
  'Child SA rekey by us': { source: 'RFC 7296 1.3.3', run: replacing('child', rekeys.ours.child) },
  'Child SA rekey by the daemon': { source: 'RFC 7296 1.3.3', run: replacing('child', rekeys.theirs.child) },
  'Child SA rekeys that collide': {
    isPatient: true,
    source: 'RFC 7296 2.8.1',
    run: replacing('child', rekeys.colliding.child),
  },
  'Child SA rekey by us, with a key exchange': {
    source: 'RFC 7296 1.3.3',
    connection: withKeyExchange,
    run: replacing('child', rekeys.ours.child),
  },
  'Child SA rekey by the daemon, with a key exchange': {
    source: 'RFC 7296 1.3.3',
    connection: withKeyExchange,
    run: replacing('child', rekeys.theirs.child),
  },
  'IKE SA rekey by us': { source: 'RFC 7296 1.3.2', run: replacing('ike', rekeys.ours.ike) },
  'IKE SA rekey by the daemon': { source: 'RFC 7296 1.3.2', run: replacing('ike', rekeys.theirs.ike) },
  'IKE SA rekeys that collide': {
    isPatient: true,
    source: 'RFC 7296 2.8.2',
    run: replacing('ike', rekeys.colliding.ike),
  },
  'Child SA rekey by us, with several key exchanges': withSeveral('child', 'ours', 'ecp256', SEVERAL),
  'Child SA rekey by the daemon, with several key exchanges': withSeveral(
    'child',
    'theirs',
    'ecp256',
    SEVERAL,
  ),
  'IKE SA rekey by us, with several key exchanges': withSeveral('ike', 'ours', 'ecp256', SEVERAL),
  'IKE SA rekey by the daemon, with several key exchanges': withSeveral('ike', 'theirs', 'ecp256', SEVERAL),
  'Child SA rekey by us, with ML-KEM-768': withSeveral('child', 'ours', 'mlkem768', ML_KEM),
  'Child SA rekey by the daemon, with ML-KEM-768': withSeveral('child', 'theirs', 'mlkem768', ML_KEM),
  'IKE SA rekey by us, with ML-KEM-768': withSeveral('ike', 'ours', 'mlkem768', ML_KEM),
  'IKE SA rekey by the daemon, with ML-KEM-768': withSeveral('ike', 'theirs', 'mlkem768', ML_KEM),
  'reauthentication by the daemon': {
    daemons: /^strongswan/,
    roles: ['responder'],
    source: 'RFC 7296 2.8.3',
    run: async (cell) => {
      await establish(cell);
      const { connection: before, sas } = cell;
      await cell.daemon.reauthenticate();
      await cell.until('another IKE SA at our end', () => cell.ours.accepted !== before);
      expect(await before.closed, undefined, 'why the old IKE SA is gone');
      cell.follow();
      const { ike, children } = await cell.agree();
      expect(ike!.spiI !== sas!.ike!.spiI, true, 'that the IKE SA is another one');
      expect(children[0].spiIn !== sas!.children[0].spiIn, true, 'that the Child SA is another one');
      expect(cell.ours.endpoint.size, 1, 'the number of our IKE SAs');
      await cell.exchangeFiles();
      await cell.agreeOnIkeSa();
    },
  },
  'make before break': {
    source: 'RFC 7296 2.8',
    run: async (cell) => {
      await establish(cell);
      const lost = await streamDuring(cell.ends(4), async (some) => {
        for (const who of [rekeys.ours, rekeys.theirs]) {
          for (const what of ['child', 'ike'] as const) {
            const { ike, children } = cell.sas!;
            await who[what](cell);
            await cell.until('new SAs', async () => {
              const now = await cell.daemon.sas();
              return what === 'ike'
                ? now.ike?.spiI !== ike!.spiI
                : now.children[0]?.spiIn !== children[0].spiIn;
            });
            await cell.agree();
            await some();
          }
        }
      });
      expect(lost, { up: [], down: [] }, 'what was lost');
    },
  },
} as const satisfies Record<string, Feature>;
