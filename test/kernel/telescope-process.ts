/*
 * A telescope in user space, in a process of its own, whose hops rekey when they are told to, and a stream of numbers through it:
 * node telescope-process.js PATHFILE ADDRESS PORT. Where the numbers go they are sent back.
 */
import { defaultProvider, openHostLink, openTelescope, openUdp, readPath } from '../../src/index.ts';
import type { TelescopeOrder, TelescopeReport } from './our-telescope.ts';

/** Milliseconds between numbers. */
const INTERVAL = 5;

const [, , file, address, port] = process.argv;
const path = readPath(file, defaultProvider());
const telescope = await openTelescope(await openHostLink(path[0].addresses.ip4!), path);
const udp = openUdp(telescope, 4000);
const missing = new Set<number>();
let sent = 0;
udp.onMessage((message) => missing.delete(new DataView(message.buffer, message.byteOffset).getUint32(0)));
const timer = setInterval(() => {
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, sent);
  missing.add(sent++);
  udp.send(number, { address, port: Number(port) });
}, INTERVAL);

process.on('message', async (order: TelescopeOrder) => {
  if (order.type === 'rekey') {
    const { connection } = telescope.hops[order.hop - 1];
    if (order.what === 'ike') connection.rekey();
    else connection.rekeyChildren();
    return;
  }
  clearInterval(timer);
  setTimeout(async () => {
    report({ type: 'ended', sent, lost: [...missing] });
    await telescope.close();
    process.disconnect();
  }, 2_000);
});
report({ type: 'open' });

function report(message: TelescopeReport): void {
  process.send!(message);
}
