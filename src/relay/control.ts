import { z } from 'zod';
import { MethodError, type Methods, method } from '../control/methods.ts';
import type { Clock, Millis } from '../link/clock.ts';
import type { Relay, RelayState } from './relay.ts';

/** Between two looks of who watches. */
const WATCH_INTERVAL: Millis = 1_000;

const nothing = z.strictObject({});

/** A relay in figures; nothing of a single client is in them. */
export interface RelayStatus extends Omit<RelayState, 'clients' | 'overlays'> {
  readonly name: string;
  readonly keyId: string;
  readonly version: string;
  readonly backend: string;
  /** Since it was opened, in seconds. */
  readonly uptime: number;
  readonly clients: number;
  readonly overlays: { readonly up: number; readonly total: number };
}

/** The clients and overlays of a relay, as `list` tells them. */
export interface RelayListing {
  /** `address` and `assigned` only where they were asked for. */
  readonly clients: readonly (Pick<RelayState['clients'][number], 'id' | 'overlayPeer'> &
    Partial<RelayState['clients'][number]>)[];
  readonly overlays: readonly {
    readonly id: string;
    readonly peer: string;
    readonly up: boolean;
    readonly problem?: string;
  }[];
}

/** What the methods work with. */
export interface RelayControl {
  readonly relay: Relay;
  readonly clock: Clock;
  /** Of this program. */
  readonly version: string;
  /** Reads relay.yaml again. @returns the keys that have changed. @throws MethodError */
  reload(): readonly string[];
}

/** The control socket's methods for a relay. */
export function relayMethods({ relay, clock, version, reload }: RelayControl): Methods {
  const opened = clock.now();
  const status = () => statusOf(relay, version, (clock.now() - opened) / 1_000);
  return {
    status: method(nothing, status),
    list: method(z.strictObject({ addresses: z.boolean().default(false) }), ({ addresses }) =>
      listing(relay.state(), addresses),
    ),
    watch: method(nothing, (_, { notify, gone }) => {
      let told = '';
      const look = () => {
        if (gone.aborted) return;
        const now = status();
        const text = JSON.stringify({ ...now, uptime: 0 });
        if (text !== told) notify('status', now);
        told = text;
        const cancel = clock.at(clock.now() + WATCH_INTERVAL, () => {
          gone.removeEventListener('abort', cancel);
          look();
        });
        gone.addEventListener('abort', cancel, { once: true });
      };
      look();
    }),
    close: method(z.strictObject({ id: z.string() }), ({ id }) => {
      if (!relay.disconnect(id)) throw new MethodError(`there is no client or overlay '${id}'; see list`);
    }),
    reload: method(nothing, () => ({ changed: reload() })),
  };
}

/** @param uptime - in seconds */
function statusOf(relay: Relay, version: string, uptime: number): RelayStatus {
  const { clients, overlays, ...figures } = relay.state();
  const { own, backend } = relay.config;
  return {
    name: own.name,
    keyId: own.keyId,
    version,
    backend,
    uptime: Math.floor(uptime),
    clients: clients.length,
    overlays: { up: overlays.filter(({ up }) => up !== undefined).length, total: overlays.length },
    ...figures,
  };
}

function listing({ clients, overlays }: RelayState, addresses: boolean): RelayListing {
  return {
    clients: clients.map(({ id, overlayPeer, address, assigned }) => ({
      id,
      ...(overlayPeer !== undefined && { overlayPeer }),
      ...(addresses && { address, assigned }),
    })),
    overlays: overlays.map(({ id, peer, up, problem }) => ({
      id,
      peer,
      up: up !== undefined,
      ...(problem !== undefined && { problem }),
    })),
  };
}
