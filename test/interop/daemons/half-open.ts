import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import { ExchangeType } from '../../../src/ike/constants.ts';
import { encodePlain } from '../../../src/ike/message.ts';
import { native, within } from '../../support/namespaces.ts';
import { transforms } from '../../support/transforms-text.ts';

/** What a connection must be like that answers `leaveHalfOpen`. */
export const HALF_OPEN = { address: '127.0.0.1', proposal: 'aes128gcm16-prfsha256-x25519' } as const;

/** An IKE_SA_INIT request; nobody knows the private key. */
function request(): Uint8Array {
  return encodePlain(
    {
      spiI: new Uint8Array(8).fill(1),
      spiR: new Uint8Array(8),
      exchangeType: ExchangeType.IKE_SA_INIT,
      messageId: 0,
      flags: { initiator: true, response: false },
    },
    [
      {
        kind: 'SA',
        proposals: [
          {
            number: 1,
            protocol: 1,
            spi: new Uint8Array(0),
            transforms: transforms('ENCR 20/128, PRF 5, KE 31'),
          },
        ],
      },
      { kind: 'KE', method: 31, data: new Uint8Array(32).fill(9) },
      { kind: 'NONCE', data: new Uint8Array(32).fill(1) },
    ],
  );
}

/**
 * Begins an IKE SA with the daemon on its own host and never goes on: daemons demand cookies of everybody once there are
 * enough half-open IKE SAs, and their least threshold is one.
 */
export async function leaveHalfOpen(namespace: NetworkNamespace): Promise<void> {
  const socket = createSocket('udp4');
  try {
    socket.bind({ fd: within(namespace, () => native().openUdp(HALF_OPEN.address, 0)) });
    socket.send(request(), 500, HALF_OPEN.address);
    await once(socket, 'message', { signal: AbortSignal.timeout(5_000) });
  } finally {
    socket.close();
  }
}
