import { describe, expect, it } from 'vitest';
import { establish } from '../../src/ike/sa-context.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';
import { idleContext } from '../support/sa-context.ts';

const { provider } = testCrypto(61);

// Requests may be 64 KiB, and anybody may send them: an IKE SA outlives its messages, so it keeps none of them.
describe('an established IKE SA', () => {
  it('does not keep the first messages', () => {
    const sa = idleContext();
    const bytes = new Uint8Array(8);
    sa.negotiated = {
      spiI: bytes,
      spiR: bytes,
      nonceI: bytes,
      nonceR: bytes,
      suite: { encryption: 20, keyLength: 256, integrity: 0, prf: 5, keyExchange: 31, additional: [] },
      pendingMethods: [],
      usesPpk: false,
      keys: undefined as never,
      protection: undefined as never,
      firstMessages: { request: bytes, response: bytes },
      peerHashes: undefined,
      peerMethods: undefined,
      childless: false,
      fragmentation: false,
    };
    establish(sa, { identity: { type: 13, data: new Uint8Array(0) }, method: 13 });
    expect(sa.negotiated?.firstMessages).toBeUndefined();
  });

  it('has a tunnel policy that holds no message', () => {
    const relay = sharedKey('relay');
    const pair = new Pair({
      initiator: initiatorConfig(provider, relay),
      responder: responderConfig(provider, anonymousProfile(relay)),
    }).run(1000);
    expectEqualSas(pair);
    for (const end of [pair.initiator, pair.responder]) {
      const { local, remote } = end.event('child-established').child.tunnel;
      for (const { startAddress, endAddress } of [...local, ...remote]) {
        expect(startAddress.buffer.byteLength).toBe(startAddress.length);
        expect(endAddress.buffer.byteLength).toBe(endAddress.length);
      }
    }
  });
});
