import type { AuthenticationName } from '../interop/authentications.ts';
import { type Cell, enumerateCells } from '../interop/cells.ts';

/** The cells that are recorded, and what they are authenticated by where their own way cannot be replayed: our RSA-PSS. */
const FLOWS: readonly (readonly [string, AuthenticationName?])[] = [
  ['strongswan-5.9 initiator: public PSK, Ed25519'],
  ['strongswan-5.9 initiator: public PSK, ECDSA P-256'],
  ['strongswan-5.9 initiator: X.509 RSA-PSS'],
  ['strongswan-5.9 initiator: COOKIE'],
  ['strongswan-5.9 initiator: INVALID_KE_PAYLOAD'],
  ['strongswan-5.9 initiator: NAT in front of us'],
  ['strongswan-5.9 initiator: Child SA rekey by us'],
  ['strongswan-5.9 initiator: IKE SA rekey by the daemon'],
  ['strongswan-5.9 initiator: IKE SA deleted by us'],
  ['strongswan-5.9 initiator: Child SA deleted by the daemon'],
  ['strongswan-5.9 initiator: wrong secret'],
  ['strongswan-5.9 responder: PSK'],
  ['strongswan-5.9 responder: COOKIE'],
  ['strongswan-5.9 responder: IKE SA rekey by us'],
  ['strongswan-5.9 responder: postquantum preshared key'],
  ['strongswan-5.9 responder: aes128-sha256-prfsha256-modp2048 / aes128-sha256'],
  ['strongswan-6.0 initiator: virtual addresses of both families'],
  ['strongswan-6.0 initiator: fragmentation'],
  ['strongswan-6.0 initiator: childless'],
  ['strongswan-6.0 initiator: postquantum preshared key'],
  ['strongswan-6.0 initiator: IKE SA deleted by the daemon'],
  ['strongswan-6.0 initiator: daemon that is gone'],
  ['strongswan-6.0 initiator: narrowing'],
  ['strongswan-6.0 initiator: chacha20poly1305-prfsha256-x25519 / chacha20poly1305'],
  ['strongswan-6.0 responder: public PSK, Ed25519'],
  ['strongswan-6.0 responder: X.509 ECDSA'],
  ['strongswan-6.0 responder: INVALID_KE_PAYLOAD'],
  ['strongswan-6.0 responder: NAT in front of the daemon'],
  ['strongswan-6.0 responder: Child SA rekey by the daemon'],
  ['strongswan-6.0 responder: IKE SA rekey by the daemon'],
  ['strongswan-6.0 responder: no suite in common'],
  ['strongswan-6.1 initiator: ML-KEM-768 in IKE_INTERMEDIATE'],
  ['strongswan-6.1 initiator: IKE SA rekey by us'],
  ['strongswan-6.1 initiator: Child SA rekey by the daemon, with a key exchange'],
  ['strongswan-6.1 initiator: IKE SA rekeys that collide'],
  ['strongswan-6.1 initiator: aes256-sha512-prfsha512-ecp521 / aes256-sha512'],
  ['strongswan-6.1 initiator: liveness checks by the daemon'],
  ['strongswan-6.1 responder: ML-KEM-768 in IKE_INTERMEDIATE'],
  ['strongswan-6.1 responder: several key exchanges'],
  ['strongswan-6.1 responder: Ed25519'],
  ['strongswan-6.1 responder: fragmentation', 'X.509 ECDSA'],
  ['strongswan-6.1 responder: childless'],
  ['strongswan-6.1 responder: Child SA rekeys that collide'],
  ['strongswan-6.1 responder: make before break'],
  ['strongswan-6.1 responder: IKE SA deleted by the daemon'],
  ['strongswan-6.1 responder: Child SA deleted by us'],
  ['libreswan-4.10 initiator: NULL, ECDSA P-256'],
  ['libreswan-4.10 initiator: IKE SA rekey by us'],
  ['libreswan-4.10 initiator: IKE SA deleted by the daemon'],
  ['libreswan-4.10 responder: NULL, ECDSA P-256'],
  ['libreswan-4.10 responder: NAT in front of us'],
  ['libreswan-4.10 responder: Child SA rekey by the daemon'],
  ['libreswan-5.2 initiator: NULL, ECDSA P-256'],
  ['libreswan-5.2 initiator: X.509 RSA-PSS'],
  ['libreswan-5.2 initiator: Child SA rekey by us'],
  ['libreswan-5.2 responder: NULL, ECDSA P-256'],
  ['libreswan-5.2 responder: IKE SA rekey by the daemon'],
  ['libreswan-5.2 responder: COOKIE'],
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
