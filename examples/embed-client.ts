// Embeds a client: a telescope through three relays, a datagram through the telescope, and the answer.
import { openTelescope, openUdp } from 'ike-telescope';
import { localLink, openLocalRelays } from './local-relays.ts';

const relays = await openLocalRelays();
// Through relays that are not on this machine: await openHostLink(path[0].addresses.ip4), and encapsulated: link.encapsulatedOnly.
const telescope = await openTelescope(localLink(), relays.path, { encapsulated: true });
for (const { relay, source, mtu } of telescope.hops) console.log(`${relay.name} saw ${source}, MTU ${mtu}`);

const udp = openUdp(telescope, 4000);
const answered = new Promise<string>((resolve) => {
  udp.onMessage((message, from) => resolve(`${new TextDecoder().decode(message)} from ${from.address}`));
});
udp.send(new TextEncoder().encode('hello'), { address: '203.0.113.7', port: 7 });
console.log(await answered);

await telescope.close();
await relays.close();
