import { ExchangeType, NotifyType, nameOf } from './constants.ts';
import { ProtocolError } from './errors.ts';
import { isErrorNotify, type Payload } from './payload/index.ts';

/** How many payloads of each kind a message has: [at least, at most]; of kinds not named, none. */
type Rules = Readonly<Partial<Record<Payload['kind'], readonly [number, number]>>>;

/** Notifies, vendor IDs and payloads that we do not interpret, which may be in any message. */
const ANYWHERE: Rules = { NOTIFY: [0, 40], VENDOR_ID: [0, 20], UNKNOWN: [0, 20] };

// RFC 7296 1.2, 1.3, 1.4, 3.6 and appendix C; RFC 9370 2.2.2, 2.2.4.
const CHILD: Rules = { SA: [1, 1], TSi: [1, 1], TSr: [1, 1] };
const CHILDLESS: Rules = { SA: [0, 0], TSi: [0, 0], TSr: [0, 0] };
const CERTIFICATES: Rules = { CERT: [0, 10], CERTREQ: [0, 10] };
const CREATE_CHILD: Rules = { ...ANYWHERE, SA: [1, 1], NONCE: [1, 1], KE: [0, 1], TSi: [0, 1], TSr: [0, 1] };
const INFORMATIONAL: Rules = { ...ANYWHERE, DELETE: [0, 20], CP: [0, 1] };

/** An additional key exchange. */
const KEY_EXCHANGE: Rules = { ...ANYWHERE, KE: [1, 1] };

const RULES: Readonly<Record<number, { readonly request: Rules; readonly response: Rules }>> = {
  [ExchangeType.IKE_SA_INIT]: {
    request: { ...ANYWHERE, PS: [0, 1], SA: [1, 1], KE: [1, 1], NONCE: [1, 1] },
    response: { ...ANYWHERE, SA: [1, 1], KE: [1, 1], NONCE: [1, 1], CERTREQ: [0, 10] },
  },
  [ExchangeType.IKE_AUTH]: {
    request: { ...ANYWHERE, ...CERTIFICATES, IDi: [1, 1], IDr: [0, 1], AUTH: [1, 1], CP: [0, 1], ...CHILD },
    response: { ...ANYWHERE, ...CERTIFICATES, IDr: [1, 1], AUTH: [1, 1], CP: [0, 1], ...CHILD },
  },
  [ExchangeType.IKE_INTERMEDIATE]: { request: KEY_EXCHANGE, response: KEY_EXCHANGE },
  [ExchangeType.CREATE_CHILD_SA]: { request: CREATE_CHILD, response: CREATE_CHILD },
  [ExchangeType.IKE_FOLLOWUP_KE]: { request: KEY_EXCHANGE, response: KEY_EXCHANGE },
  [ExchangeType.INFORMATIONAL]: { request: INFORMATIONAL, response: INFORMATIONAL },
};

/**
 * Checks which payloads a message has, and how many. A response with an error notify, or one of IKE_SA_INIT
 * with a COOKIE (RFC 7296 2.6), need not have the others.
 * @throws ProtocolError INVALID_SYNTAX
 */
export function checkRules(exchange: number, isResponse: boolean, payloads: readonly Payload[]): void {
  check(exchange, isResponse, payloads, {});
}

/**
 * The same for IKE_AUTH. @param isChildless - it is not about a Child SA (RFC 6023 5)
 * @throws ProtocolError INVALID_SYNTAX
 */
export function checkAuthRules(
  isResponse: boolean,
  payloads: readonly Payload[],
  isChildless: boolean,
): void {
  check(ExchangeType.IKE_AUTH, isResponse, payloads, isChildless ? CHILDLESS : CHILD);
}

function check(exchange: number, isResponse: boolean, payloads: readonly Payload[], more: Rules): void {
  const found = RULES[exchange]?.[isResponse ? 'response' : 'request'];
  const wrong = (problem: string) => {
    const what = `${nameOf(ExchangeType, exchange)} ${isResponse ? 'response' : 'request'}`;
    return new ProtocolError(NotifyType.INVALID_SYNTAX, `${what}: ${problem}`);
  };
  if (found === undefined) throw wrong('unknown exchange');
  const rules = { ...found, ...more };
  const counts: Partial<Record<Payload['kind'], number>> = {};
  for (const { kind } of payloads) counts[kind] = (counts[kind] ?? 0) + 1;
  for (const kind in counts) {
    const count = counts[kind as Payload['kind']]!;
    if (count > (rules[kind as Payload['kind']]?.[1] ?? 0)) throw wrong(`${count} ${kind} payloads`);
  }
  if (isResponse && payloads.some((payload) => refuses(exchange, payload))) return;
  for (const kind in rules) {
    const count = counts[kind as Payload['kind']] ?? 0;
    if (count < rules[kind as Payload['kind']]![0]) throw wrong(`${count} ${kind} payloads`);
  }
}

function refuses(exchange: number, payload: Payload): boolean {
  if (payload.kind !== 'NOTIFY') return false;
  const demandsCookie = exchange === ExchangeType.IKE_SA_INIT && payload.type === NotifyType.COOKIE;
  return demandsCookie || isErrorNotify(payload);
}
