import { isSpecialAddress } from '../forward/special-ranges.ts';
import type { ExitNeed } from '../select/exit-need.ts';
import { SocksReply, type SocksRequest } from '../socks/protocol.ts';
import { refuse, type SocksArrival, SocksServer } from '../socks/server.ts';
import { type Address, addressBytes, familyOf } from '../wire/address.ts';
import type { TelescopeKeeper } from './telescope-keeper.ts';

/** Serves SOCKS clients of this host through telescopes; those with other credentials go through others. */
export class SocksFront {
  readonly #server: SocksServer;

  private constructor(server: SocksServer) {
    this.#server = server;
  }

  /** @throws RangeError for an address that is not loopback, Error of the system if it cannot be bound */
  static async listen(
    keeper: TelescopeKeeper<SocksArrival>,
    { host, port }: { readonly host: Address; readonly port: number },
  ): Promise<SocksFront> {
    return new SocksFront(
      await SocksServer.listen(host, port, (arrival) => {
        if (isForPrivate(arrival.request)) {
          refuse(arrival, SocksReply.NOT_ALLOWED);
          return;
        }
        const { request } = arrival;
        keeper.carry(arrival, request.credentials, needsOf(request)).catch(() => {
          refuse(arrival, SocksReply.GENERAL_FAILURE);
        });
      }),
    );
  }

  get port(): number {
    return this.#server.port;
  }

  /** Takes no more; those that are carried are the keeper's. */
  close(): void {
    this.#server.close();
  }
}

/** No exit lets anybody reach those; a connection would wait for nothing. */
function isForPrivate({ command, host }: SocksRequest): boolean {
  return (
    command === 'connect' &&
    typeof host === 'string' &&
    isSpecialAddress(addressBytes(host), 0, familyOf(host))
  );
}

/** What a client will send by UDP it has not said. */
function needsOf({ command, host, port }: SocksRequest): ExitNeed[] {
  if (command === 'udp-associate') return [];
  return [{ protocol: 'tcp', port, ...(typeof host === 'string' && { address: host }) }];
}
