/** How many times as long as usual things may take, in this guest. */
export const SLOWNESS = Number(process.env.GUEST_SLOWNESS ?? 1);
