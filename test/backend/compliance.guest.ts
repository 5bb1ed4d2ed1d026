import { afterAll } from 'vitest';
import { ipChannel } from '../../src/backend/xfrm/ip-channel.ts';
import { closePlaces, openKernelEnd } from '../support/kernel-end.ts';
import { describeBackend, describeCarrier } from './compliance.ts';

afterAll(closePlaces);

for (const [name, channel, tunnels, sas] of [
  ['kernel, by netlink', undefined, 500, 20],
  ['kernel, by ip', ipChannel, 2, 2],
] as const) {
  const subject = { open: () => openKernelEnd(channel), tunnels, sas };
  describeBackend(name, subject);
  describeCarrier(name, subject);
}
