/** Waits until `ready` gives something other than undefined or false; fails after 10 seconds. */
export async function until<T>(what: string, ready: () => T | undefined | false): Promise<T> {
  for (let i = 0; i < 2_000; i++) {
    const value = ready();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`waited in vain for ${what}`);
}
