/*
 * A telescope in a process of its own, whose hops rekey when they are told to, and a stream of numbers through it:
 * node telescope-process.js PATHFILE BACKEND ADDRESS PORT. Where the numbers go they are sent back.
 */
import {
  type BackendChoice,
  defaultProvider,
  openHost,
  openTelescope,
  openUdp,
  readPath,
} from '../../src/index.ts';
import type { Address } from '../../src/wire/address.ts';
import type { TelescopeOrder, TelescopeReport } from './our-telescope.ts';
import { openUdpFile } from './udp.ts';

/** Milliseconds between numbers. */
const INTERVAL = 5;
const PORT = 4000;

const [, , file, backend, address, port] = process.argv;
const path = readPath(file, defaultProvider());
const host = await openHost(path[0].addresses.ip4!, backend as BackendChoice);
const telescope = await openTelescope(host.link, path, host.options);
const missing = new Set<number>();
const send = await openPort();
let sent = 0;
const timer = setInterval(() => {
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, sent);
  missing.add(sent++);
  send(number, { address, port: Number(port) });
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
    await host.close();
    process.exit();
  }, 2_000);
});
report({ type: 'open' });

/** At the inner end. @returns what sends from it */
async function openPort(): Promise<
  (message: Uint8Array, to: { readonly address: Address; readonly port: number }) => void
> {
  const take = (message: Uint8Array) =>
    missing.delete(new DataView(message.buffer, message.byteOffset).getUint32(0));
  if (host.enter === undefined) {
    const udp = openUdp(telescope, PORT);
    udp.onMessage(take);
    return (message, to) => udp.send(message, to);
  }
  const { file } = await host.enter(telescope);
  const udp = openUdpFile(file, telescope.assigned.ip4!, PORT, take);
  return (message, to) => udp.send(message, to.address, to.port);
}

function report(message: TelescopeReport): void {
  process.send!(message);
}
