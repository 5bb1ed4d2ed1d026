// Embeds relays (local-relays.ts opens them), and tells what they are doing while a client comes and goes.
import { openTelescope } from 'ike-telescope';
import { localLink, openLocalRelays } from './local-relays.ts';

const { relays, path, close } = await openLocalRelays();

function report(when: string): void {
  const lines = relays.map((relay, index) => {
    const { clients, overlays } = relay.state();
    const peers = overlays.filter(({ up }) => up !== undefined).map(({ peer }) => peer);
    const from = clients.map(({ overlayPeer = 'the network' }) => ` from ${overlayPeer}`);
    return `  ${path[index].name}: overlays with ${peers}; clients: ${clients.length}${from}`;
  });
  console.log(`${when}:\n${lines.join('\n')}`);
}

report('before');
const telescope = await openTelescope(localLink(), path, { encapsulated: true });
report('with a telescope');
await telescope.close();
report('after');
await close();
