/** The members that are there, IPv4 first. */
export function present<T>({ ip4, ip6 }: { readonly ip4?: T; readonly ip6?: T }): readonly T[] {
  return [ip4, ip6].filter((member) => member !== undefined);
}
