import type { AuthenticationName } from '../interop/authentications.ts';
import { type Cell, enumerateCells } from '../interop/cells.ts';

/** The cells that are recorded, and what they are authenticated by where their own way cannot be replayed: our RSA-PSS. */
const FLOWS: readonly (readonly [string, AuthenticationName?])[] = [
  ['strongswan-5.9 initiator: public PSK, Ed25519'],
  ['strongswan-6.0 responder: public PSK, Ed25519'],
];

/** What is recorded, each with a seed of its own. */
export function recordedFlows(): { readonly cell: Cell; readonly seed: number }[] {
  const cells = enumerateCells();
  return FLOWS.map(([id, authentication], index) => {
    const cell = cells.find((each) => each.id === id);
    if (cell === undefined) throw new Error(`no cell is called ${id}`);
    return { cell: authentication === undefined ? cell : { ...cell, authentication }, seed: index + 1 };
  });
}
