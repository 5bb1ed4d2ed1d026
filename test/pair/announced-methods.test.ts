import { describe, expect, it } from 'vitest';
import type { InitiatorConfig, ResponderConfig, ResponderProfile } from '../../src/ike/config.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { findNotify, payloadOf } from '../../src/ike/payloads.ts';
import { hex } from '../../src/wire/bytes.ts';
import {
  anonymousProfile,
  initiatorConfig,
  responderConfig,
  sharedKey,
  signature,
} from '../support/ike-configs.ts';
import { names, Pair, testCrypto } from '../support/pair.ts';

const crypto = testCrypto(81);
const { provider } = crypto;
const relay = signature(provider, 'rsa');
const [client, clientKey] = [signature(provider, 'rsa'), sharedKey('client')];
const ANNOUNCEMENT = 'N(SUPPORTED_AUTH_METHODS)';

function meet(
  initiator: Partial<InitiatorConfig>,
  responder: Partial<ResponderConfig>,
  profile: Partial<ResponderProfile> = {},
): Pair {
  const pair = new Pair({
    initiator: { ...initiatorConfig(provider, relay), ...initiator },
    responder: { ...responderConfig(provider, { ...anonymousProfile(relay), ...profile }), ...responder },
  }).run(1000);
  expect(pair.initiator.ike.established && pair.responder.ike.established).toBe(true);
  return pair;
}

function messages(pair: Pair): string[][] {
  return pair.sent.map(({ message }) => names(crypto.read(message)));
}

describe('announced authentication methods (RFC 9593)', () => {
  it('are not announced by default, nor by an initiator to who did not', () => {
    expect(messages(meet({}, {})).flat()).not.toContain(ANNOUNCEMENT);
    expect(messages(meet({ announceMethods: true }, {})).flat()).not.toContain(ANNOUNCEMENT);
  });

  it('are announced by the responder in IKE_SA_INIT, by the initiator in IKE_AUTH', () => {
    const quiet = messages(meet({}, { announcedMethods: ['null'] }));
    expect(quiet.map((kinds) => kinds.includes(ANNOUNCEMENT))).toEqual([false, true, false, false]);
    const pair = meet({ announceMethods: true }, { announcedMethods: ['null', 'signature'] });
    const said = pair.sent.map(
      ({ message }) => findNotify(crypto.read(message), NotifyType.SUPPORTED_AUTH_METHODS)?.data,
    );
    expect(said.map((data) => data && hex(data.subarray(0, 4)))).toEqual([
      undefined,
      '020d0a0e',
      '0a0e0030',
      undefined,
    ]);
  });

  it('let an initiator with several ways prove itself in the one that does', () => {
    const ways = { local: client.local, alternatives: [clientKey.local] };
    const byKey = meet(ways, { announcedMethods: ['shared-key'] }, { remote: clientKey.remote });
    expect(byKey.responder.event('established').peer.method).toBe(2);
    const bySignature = meet(
      ways,
      { announcedMethods: ['shared-key', 'signature'] },
      { remote: client.remote },
    );
    expect(bySignature.responder.event('established').peer.method).toBe(14);
    const unasked = meet(ways, {}, { remote: client.remote });
    expect(unasked.responder.event('established').peer.method).toBe(14);
  });

  it('let an RSA key sign in the way that the peer verifies, whatever it would rather do', () => {
    const prefix = (pair: Pair, index: number) =>
      hex(payloadOf(crypto.read(pair.sent[index].message), 'AUTH').data.subarray(0, 14)).slice(-2);
    // The last octet of the OIDs of RSASSA-PSS and sha256WithRSAEncryption.
    const local = { ...relay.local, rsaPadding: 'pkcs1' } as typeof relay.local;
    expect(prefix(meet({}, {}, { local }), 3)).toBe('0b');
    const announced = meet({ announceMethods: true }, { announcedMethods: ['null'] }, { local });
    expect(prefix(announced, 3)).toBe('0a');
  });
});
