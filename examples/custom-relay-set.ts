// A set of relays of one's own, which changes: descriptors are announced to it, by whatever means, and paths are chosen among
// those that it has then. (`RelayDirectory` has those that are the files of a directory.)
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  choosePath,
  defaultProvider,
  openTelescope,
  parseDescriptor,
  type RelayDescriptor,
  type RelaySet,
} from 'ike-telescope';
import { localLink, openLocalRelays } from './local-relays.ts';

const crypto = defaultProvider();

class AnnouncedRelays implements RelaySet {
  #byKey: ReadonlyMap<string, RelayDescriptor> = new Map();

  /** Takes a new relay, or what a known one says of itself now. Throws unless the relay has signed it. */
  announce(text: string, where: string): void {
    const relay = parseDescriptor(text, crypto, where);
    this.#byKey = new Map(this.#byKey).set(relay.keyId, relay);
  }

  relays(): readonly RelayDescriptor[] {
    return [...this.#byKey.values()];
  }

  find(keyId: string): RelayDescriptor | undefined {
    return this.#byKey.get(keyId);
  }
}

const local = await openLocalRelays();
const set = new AnnouncedRelays();
for (const name of readdirSync(local.directory)) {
  set.announce(readFileSync(join(local.directory, name), 'utf8'), name);
  const relays = set.relays();
  const path = choosePath(
    relays,
    {
      length: relays.length,
      needs: [{ protocol: 'udp', port: 7 }],
      guards: relays, // a client keeps to a few of them for months
      near: true, // all of these are on one machine; relays of a path should not be in one network
    },
    crypto,
  );
  const telescope = await openTelescope(localLink(), path, { encapsulated: true });
  console.log(telescope.hops.map(({ relay }) => relay.name).join(' '));
  await telescope.close();
}
await local.close();
