// A backend of one's own: ESP stays in user space, and every SA and packet is counted on its way.
import {
  type BackendFactory,
  defaultProvider,
  openTelescope,
  userSpaceBackend,
  userSpaceHops,
} from 'ike-telescope';
import { localLink, openLocalRelays } from './local-relays.ts';

interface Tally {
  installed: number;
  removed: number;
  packetsOut: number;
  packetsIn: number;
}

/** A backend is made of how it sends ESP and whom it tells what; it has an SA database, and a tunnel for each policy in it. */
function counting(inner: BackendFactory, tally: Tally): BackendFactory {
  return (sendEsp, onUnknownSpi, onSaEvent) => {
    const backend = inner(
      (packets, to) => {
        tally.packetsOut += packets.length;
        sendEsp(packets, to);
      },
      onUnknownSpi,
      onSaEvent,
    );
    return {
      name: `counting ${backend.name}`,
      async apply(operations) {
        const results = await backend.apply(operations);
        operations.forEach(({ kind }, index) => {
          if (!results[index].ok) return;
          if (kind === 'inbound' || kind === 'outbound') tally.installed++;
          if (kind === 'remove') tally.removed++;
        });
        return results;
      },
      receive(packets, origin) {
        tally.packetsIn += packets.length;
        backend.receive(packets, origin);
      },
      tunnel: (policyId) => backend.tunnel(policyId),
      close: () => backend.close(),
    };
  };
}

const relays = await openLocalRelays();
const tally: Tally = { installed: 0, removed: 0, packetsOut: 0, packetsIn: 0 };
const backend = userSpaceHops(counting(userSpaceBackend(defaultProvider()), tally));
const telescope = await openTelescope(localLink(), relays.path, { encapsulated: true, backend });
console.log(`${tally.installed} SAs carry ${telescope.hops.length} hops`);
await telescope.close();
await relays.close();
console.log(`${tally.removed} SAs removed; ESP packets: ${tally.packetsOut} out, ${tally.packetsIn} in`);
