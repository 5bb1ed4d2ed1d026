import { expect, expectSoon } from './expect.ts';
import { establish, type Feature } from './feature.ts';
import type { Running } from './running.ts';
import { ADDRESSES } from './world.ts';

/** The initiator gets another address, and nothing else changes. */
async function move(cell: Running): Promise<void> {
  await establish(cell);
  const { ike: ikeBefore, children: childrenBefore } = cell.sas!;
  const [mover, end] =
    cell.spec.role === 'responder' ? (['ours', 'ours'] as const) : (['daemon', 'theirs'] as const);
  await cell.world.move(mover);
  const from = (kind: 'ike' | 'esp') =>
    cell.traffic
      .of(end)
      .filter((seen) => seen.kind.startsWith(kind) && seen.source === ADDRESSES.moved[mover]);
  await cell.until('IKE messages from the new address', () => from('ike').length > 0);
  if (mover === 'daemon')
    await expectSoon(() => cell.connection.origin.address, ADDRESSES.moved.daemon, 'where we send to');
  // It has no ESP in user space that moves, and rekeys.
  if (cell.name.startsWith('strongswan'))
    await cell.until('another Child SA', async () => {
      const { children } = await cell.daemon.sas();
      return children.length === 1 && children[0].spiIn !== childrenBefore[0].spiIn;
    });
  const { ike } = await cell.agree();
  await cell.exchangeFiles();
  await expectSoon(() => from('esp').length > 50, true, 'that ESP is from the new address');
  await cell.agreeOnIkeSa();
  expect(ike!.spiI, ikeBefore!.spiI, 'the IKE SA');
}

export const MOBILITY = {
  'another address of the initiator': {
    source: 'RFC 4555 3.5',
    connection: () => ({ mobike: true }),
    run: move,
  },
} as const satisfies Record<string, Feature>;
