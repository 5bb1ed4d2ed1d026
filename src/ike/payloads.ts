import { NotifyType } from './constants.ts';
import { ProtocolError } from './errors.ts';
import type { NotifyPayload, Payload } from './payload/index.ts';

type OfKind<K extends Payload['kind']> = Payload & { readonly kind: K };

/** The first payload of a kind; undefined if there is none. */
export function findPayload<K extends Payload['kind']>(
  payloads: readonly Payload[],
  kind: K,
): OfKind<K> | undefined {
  return payloads.find((payload): payload is OfKind<K> => payload.kind === kind);
}

/** The first payload of a kind. @throws ProtocolError INVALID_SYNTAX if there is none */
export function payloadOf<K extends Payload['kind']>(payloads: readonly Payload[], kind: K): OfKind<K> {
  const found = findPayload(payloads, kind);
  if (found === undefined) throw new ProtocolError(NotifyType.INVALID_SYNTAX, `no ${kind} payload`);
  return found;
}

/** The first notify of a type. Protocol and SPI are not looked at (RFC 7296 3.10). */
export function findNotify(payloads: readonly Payload[], type: number): NotifyPayload | undefined {
  return payloads.find(
    (payload): payload is NotifyPayload => payload.kind === 'NOTIFY' && payload.type === type,
  );
}
