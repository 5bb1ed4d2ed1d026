import { describe, expect, it } from 'vitest';
import { ExchangeType, NotifyType } from '../../../src/ike/constants.ts';
import { ProtocolError } from '../../../src/ike/errors.ts';
import { idPayload, notify, type Payload } from '../../../src/ike/payload/index.ts';
import { checkRules } from '../../../src/ike/rules.ts';

const data = new Uint8Array(16);
const identity = { type: 13, data: new Uint8Array(0) };
const SAMPLES: Readonly<Record<string, Payload>> = {
  SA: { kind: 'SA', proposals: [] },
  KE: { kind: 'KE', method: 31, data },
  NONCE: { kind: 'NONCE', data },
  IDi: idPayload('IDi', identity),
  IDr: idPayload('IDr', identity),
  CERT: { kind: 'CERT', encoding: 15, data },
  CERTREQ: { kind: 'CERTREQ', encoding: 15, data },
  AUTH: { kind: 'AUTH', method: 13, data },
  TSi: { kind: 'TSi', selectors: [] },
  TSr: { kind: 'TSr', selectors: [] },
  CP: { kind: 'CP', type: 1, attributes: [] },
  DELETE: { kind: 'DELETE', protocol: 1, spis: [] },
  VENDOR_ID: { kind: 'VENDOR_ID', data },
  UNKNOWN: { kind: 'UNKNOWN', type: 200, critical: false, data },
  NOTIFY: notify(NotifyType.INITIAL_CONTACT),
  ERROR: notify(NotifyType.NO_PROPOSAL_CHOSEN),
  COOKIE: notify(NotifyType.COOKIE),
};
const some = (text: string) =>
  text
    .split(' ')
    .filter(Boolean)
    .flatMap((name) => {
      const [kind, count = '1'] = name.split('*');
      return Array<Payload>(Number(count)).fill(SAMPLES[kind]);
    });
const check = (exchange: keyof typeof ExchangeType, isResponse: boolean, text: string) => () =>
  checkRules(ExchangeType[exchange], isResponse, some(text));

describe('checkRules', () => {
  it.each<[keyof typeof ExchangeType, boolean, string]>([
    ['IKE_SA_INIT', false, 'SA KE NONCE'],
    ['IKE_SA_INIT', false, 'COOKIE SA KE NONCE NOTIFY*5 VENDOR_ID*3 UNKNOWN'],
    ['IKE_SA_INIT', true, 'SA KE NONCE CERTREQ NOTIFY'],
    ['IKE_SA_INIT', true, 'COOKIE'],
    ['IKE_SA_INIT', true, 'ERROR'],
    ['IKE_AUTH', false, 'IDi AUTH SA TSi TSr'],
    ['IKE_AUTH', false, 'IDi CERT*2 NOTIFY CERTREQ IDr AUTH CP SA TSi TSr'],
    ['IKE_AUTH', true, 'IDr CERT AUTH CP SA TSi TSr'],
    ['IKE_AUTH', true, 'IDr AUTH ERROR'],
    ['IKE_AUTH', true, 'ERROR'],
    ['CREATE_CHILD_SA', false, 'NOTIFY SA NONCE KE TSi TSr'],
    ['CREATE_CHILD_SA', true, 'SA NONCE KE'],
    ['CREATE_CHILD_SA', true, 'ERROR'],
    ['INFORMATIONAL', false, ''],
    ['INFORMATIONAL', false, 'DELETE*2 NOTIFY CP'],
    ['INFORMATIONAL', true, ''],
  ])('allows in %s (response: %s): %s', (exchange, isResponse, text) => {
    expect(check(exchange, isResponse, text)).not.toThrow();
  });

  it.each<[keyof typeof ExchangeType, boolean, string]>([
    ['IKE_SA_INIT', false, ''],
    ['IKE_SA_INIT', false, 'KE NONCE'],
    ['IKE_SA_INIT', false, 'SA NONCE'],
    ['IKE_SA_INIT', false, 'SA KE'],
    ['IKE_SA_INIT', false, 'SA*2 KE NONCE'],
    ['IKE_SA_INIT', false, 'SA KE*2 NONCE'],
    ['IKE_SA_INIT', false, 'SA KE NONCE*2'],
    ['IKE_SA_INIT', false, 'SA KE NONCE AUTH'],
    ['IKE_SA_INIT', false, 'COOKIE'],
    ['IKE_SA_INIT', false, 'ERROR'],
    ['IKE_SA_INIT', false, 'SA KE NONCE NOTIFY*41'],
    ['IKE_SA_INIT', false, 'SA KE NONCE UNKNOWN*21'],
    ['IKE_SA_INIT', true, 'NOTIFY'],
    ['IKE_SA_INIT', true, 'ERROR SA*2'],
    ['IKE_AUTH', false, 'AUTH SA TSi TSr'],
    ['IKE_AUTH', false, 'IDi SA TSi TSr'],
    ['IKE_AUTH', false, 'IDi AUTH SA TSi'],
    ['IKE_AUTH', false, 'IDi AUTH SA TSi TSr CERT*11'],
    ['IKE_AUTH', false, 'IDi AUTH SA TSi TSr CERTREQ*100'],
    ['IKE_AUTH', false, 'IDi AUTH SA TSi TSr KE'],
    ['IKE_AUTH', false, 'IDi AUTH ERROR'],
    ['IKE_AUTH', true, 'IDi IDr AUTH SA TSi TSr'],
    ['IKE_AUTH', true, 'IDr AUTH'],
    ['IKE_AUTH', true, 'IDr AUTH NOTIFY'],
    ['IKE_AUTH', true, 'COOKIE'],
    ['CREATE_CHILD_SA', true, 'COOKIE'],
    ['CREATE_CHILD_SA', false, 'SA KE TSi TSr'],
    ['CREATE_CHILD_SA', false, 'SA NONCE AUTH'],
    ['INFORMATIONAL', false, 'SA'],
    ['INFORMATIONAL', true, 'AUTH'],
  ])('refuses in %s (response: %s): %s', (exchange, isResponse, text) => {
    expect(check(exchange, isResponse, text)).toThrow(ProtocolError);
  });

  it('names the exchange, the payload and the count', () => {
    expect(check('IKE_AUTH', false, 'IDi*2')).toThrow('IKE_AUTH request: 2 IDi payloads');
  });

  it('refuses exchanges that it does not know', () => {
    expect(() => checkRules(43, false, [])).toThrow(ProtocolError);
  });
});
