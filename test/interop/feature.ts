import type { AuthenticationName } from './authentications.ts';
import type { Connection } from './daemons/daemon.ts';
import { expectSoon } from './expect.ts';
import type { OurView } from './ours.ts';
import type { Running } from './running.ts';
import { type NatSide, NETWORKS } from './world.ts';

/** What a cell is about: how its connection differs from the ordinary one, and what has to be seen. */
export interface Feature {
  /** RFC and section. */
  readonly source: string;
  /** Changes of the daemon's view of the connection, which ours follows. */
  readonly connection?: (base: Connection) => Partial<Connection>;
  /** What differs in our own view of it, and what our configuration has besides. */
  readonly ours?: (connection: Connection) => OurView;
  readonly nat?: NatSide;
  /** It is mostly waited in: others can go on beside it. */
  readonly isPatient?: true;
  /** How the ends prove themselves, if that matters. */
  readonly authentication?: AuthenticationName;
  /** Only for these. */
  readonly daemons?: RegExp;
  /** Our roles in which there is something to see. Default: both. */
  readonly roles?: readonly ('initiator' | 'responder')[];
  /** Default: the IKE SA is set up, and a file goes each way. */
  readonly run?: (cell: Running) => Promise<void>;
}

/** The ordinary cell: the IKE SA is set up, and a file goes each way. */
export async function establish(cell: Running): Promise<void> {
  await cell.establish();
  await cell.exchangeFiles();
  if (cell.isPlain)
    await expectSoon(() => cell.traffic.of('theirs', 'esp').length > 0, true, 'that its ESP is plain');
}

/** An address by Configuration Payload for the initiator, whoever that is. */
export function assigned(...families: (4 | 6)[]) {
  return (base: Connection): Partial<Connection> => {
    const networks = (of: { readonly 4: string; readonly 6: string }) => families.map((family) => of[family]);
    return base.role === 'responder'
      ? {
          pools: networks({ 4: '10.78.0.0/24', 6: 'fd78::/64' }),
          localTs: networks(NETWORKS.daemonInner),
          remoteTs: 'dynamic',
        }
      : { requests: families, localTs: 'dynamic', remoteTs: networks(NETWORKS.oursInner) };
  };
}

/** The networks of both ends have each other, and nobody is assigned an address. */
export const networksOfBoth = {
  pools: [],
  requests: [],
  localTs: [NETWORKS.daemonInner[4]],
  remoteTs: [NETWORKS.oursInner[4]],
};
