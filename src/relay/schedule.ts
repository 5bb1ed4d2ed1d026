import type { RetransmissionSchedule } from '../ike/config.ts';

/** A relay gives a peer up after 7.5 seconds without an answer. */
export const relaySchedule: RetransmissionSchedule = { first: 500, factor: 2, cap: 2_000, tries: 5 };
