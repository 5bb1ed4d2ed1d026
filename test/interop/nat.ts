import { expect, expectSoon } from './expect.ts';
import { establish, type Feature } from './feature.ts';
import type { Running } from './running.ts';

/** What strongSwan says that our NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP have told it. */
const SEEN_BY_STRONGSWAN = { ours: 'remote host is behind NAT', daemon: 'local host is behind NAT' };

/** Both ends know of the NAT. @param cell - strongSwan 5.9 puts ESP in UDP in any case, so that this proves nothing */
async function behindNat(cell: Running): Promise<void> {
  await establish(cell);
  for (const end of ['ours', 'theirs'] as const) {
    expect(cell.traffic.of(end, 'esp').length, 0, 'the number of plain ESP packets');
    await expectSoon(() => cell.traffic.of(end, 'esp in UDP').length > 50, true, 'that ESP is in UDP');
  }
  if (!cell.name.startsWith('strongswan')) return;
  const log = await cell.daemon.log();
  for (const side of ['ours', 'daemon'] as const)
    expect(log.includes(SEEN_BY_STRONGSWAN[side]), side === cell.nat, `"${SEEN_BY_STRONGSWAN[side]}"`);
}

/** The end behind the NAT keeps its mapping. */
const keepalives = (end: 'ours' | 'theirs') => async (cell: Running) => {
  await behindNat(cell);
  await cell.until('a keepalive', () => cell.traffic.of(end, 'keepalive').length > 0, 75_000);
  await cell.exchangeFiles();
};

export const NAT = {
  'NAT in front of us': { source: 'RFC 7296 2.23', nat: 'ours', run: behindNat },
  'NAT in front of the daemon': { source: 'RFC 7296 2.23', nat: 'daemon', run: behindNat },
  'keepalives of ours': {
    isPatient: true,
    source: 'RFC 3948 4',
    nat: 'ours',
    run: keepalives('ours'),
  },
  'keepalives of the daemon': {
    // Of libreswan 4.10 there are none within two minutes.
    daemons: /^strongswan|^libreswan-5/,
    isPatient: true,
    source: 'RFC 3948 4',
    nat: 'daemon',
    run: keepalives('theirs'),
  },
} as const satisfies Record<string, Feature>;
