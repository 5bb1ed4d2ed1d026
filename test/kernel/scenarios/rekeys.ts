import { SLOWNESS } from '../../guest/slowness.ts';
import type { ReceivedSection } from '../../interop/daemons/vici.ts';
import { pause } from '../../interop/transfer.ts';
import { CheckError } from '../checks.ts';
import type { NetworkSpec } from '../network.ts';
import { openOurTelescope } from '../our-telescope.ts';
import { overlayName, type Relays } from '../relays.ts';
import type { Scenario } from '../scenarios.ts';
import { RELAYS, type RelayName } from '../world.ts';

/** What a connection of a stock relay's is called that clients have. */
const CLIENTS = 'ike-telescope';

/** Milliseconds that a rekey may take. */
const PATIENCE = 10_000 * SLOWNESS;

type What = 'ike' | 'child';

/** Somebody rekeys the SAs of a connection, and a stock relay sees it. */
interface Rekey {
  readonly title: string;
  readonly at: RelayName;
  readonly connection: string;
  readonly what: What;
  begin(): unknown;
}

/** The SAs of all layers are replaced, one after the other, by either end, while packets are on their way. */
export function rekeys(network: NetworkSpec, backend: 'userspace' | 'xfrm'): Scenario {
  return {
    title: `rekeys of every layer by either side under traffic, no packet lost (${backend})`,
    network,
    async run({ world, relays, say }) {
      const telescope = await openOurTelescope(
        world,
        RELAYS.map((name) => relays[name].pathEntry),
        backend,
      );
      say('the telescope is up');
      const byUs = RELAYS.flatMap((at, index) =>
        (['child', 'ike'] as const).map((what): Rekey => {
          const begin = () => telescope.rekey(index + 1, what);
          return {
            title: `${what} of hop ${index + 1}, by the client`,
            at,
            connection: CLIENTS,
            what,
            begin,
          };
        }),
      );
      const overlays = [
        ['A', 'B'],
        ['B', 'A'],
        ['B', 'C'],
        ['C', 'B'],
      ] as const;
      const byRelays = [
        ...RELAYS.flatMap((at) => stockRekeys(relays, at, CLIENTS)),
        ...overlays.flatMap(([at, peer]) => stockRekeys(relays, at, overlayName(at, peer))),
      ];
      for (const rekey of [...byUs, ...byRelays]) await carryOut(relays, rekey);
      say('all SAs have been replaced');
      const { sent, lost } = await telescope.end();
      if (lost.length > 0)
        throw new CheckError(`${lost.length} of ${sent} packets did not come back: ${lost.slice(0, 20)}`);
      return { rekeys: byUs.length + byRelays.length, packets: sent };
    },
  };
}

function stockRekeys(relays: Relays, at: RelayName, connection: string): Rekey[] {
  return (['child', 'ike'] as const).map((what) => {
    const begin = () => relays[at].charon!.ask('rekey', { [what]: connection });
    return { title: `${what} of ${connection}, by ${at}`, at, connection, what, begin };
  });
}

/** @throws CheckError unless there is another SA in the end, and only that */
async function carryOut(relays: Relays, { title, at, connection, what, begin }: Rekey): Promise<void> {
  const seen = async () => spisOf(await relays[at].charon!.sas(), connection, what);
  const before = await seen();
  if (before.length !== 1)
    throw new CheckError(`${at} has ${before.length} SAs before the rekey of ${title}`);
  await begin();
  for (const end = performance.now() + PATIENCE; ; await pause(50)) {
    const now = await seen();
    if (now.length === 1 && now[0] !== before[0]) return;
    if (performance.now() > end) throw new CheckError(`no rekey of ${title}: ${before} became ${now}`);
  }
}

/** The initiator's SPIs of IKE SAs, or the relay's own of Child SAs, without those that are deleted and only still receive. */
function spisOf(events: readonly ReceivedSection[], connection: string, what: What): string[] {
  const ikeSas = events.flatMap((event) =>
    connection in event ? [event[connection] as ReceivedSection] : [],
  );
  if (what === 'ike') return ikeSas.map((ike) => String(ike['initiator-spi']));
  return ikeSas.flatMap((ike) =>
    Object.values(ike['child-sas'] as Readonly<Record<string, ReceivedSection>>)
      .filter(({ state }) => state !== 'DELETED')
      .map((child) => String(child['spi-in'])),
  );
}
