import { afterAll } from 'vitest';
import { ipChannel } from '../../src/backend/xfrm/ip-channel.ts';
import { closePlaces, openKernelEnd } from '../support/kernel-end.ts';
import { describeBackend, describeCarrier } from './compliance.ts';

afterAll(closePlaces);

for (const [name, channel, tunnels] of [
  ['kernel, by netlink', undefined, 500],
  ['kernel, by ip', ipChannel, 1],
] as const) {
  const subject = { open: () => openKernelEnd(channel), tunnels };
  describeBackend(name, subject);
  describeCarrier(name, subject);
}
