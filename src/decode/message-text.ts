import type { UdpEnd } from './datagram.ts';
import type { DecodedMessage } from './decoder.ts';
import type { Json, JsonObject } from './payload-description.ts';

/** A message for people: a line, and one for each payload, proposal, transform, selector and attribute. */
export function messageText(message: DecodedMessage): string {
  const { frame, time, source, destination, exchange, flags, messageId, spiI, spiR } = message;
  const head = [`${frame}`, time ?? '-', `${endText(source)} > ${endText(destination)}`];
  if (exchange !== undefined) {
    const direction = flags?.response ? 'response' : 'request';
    const sender = flags?.initiator ? 'initiator' : 'responder';
    head.push(`${exchange} ${direction} ${messageId} of the ${sender}`, `SPIs ${spiI} ${spiR}`);
  }
  return [
    head.join('  '),
    `  ${statusText(message)}`,
    ...message.payloads.flatMap((p) => lines(p, '  ')),
  ].join('\n');
}

function endText({ address, port }: UdpEnd): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function statusText({ decrypted, icv, payloads, fragment, reassembled, error }: DecodedMessage): string {
  const sealed = payloads.some(({ type }) => type === 'SK' || type === 'SKF');
  const parts = [decrypted ? 'decrypted' : sealed ? 'not decrypted' : 'in clear'];
  if (icv !== null) parts.push(icv ? 'ICV right' : 'ICV wrong');
  else if (decrypted) parts.push('ICV not verified');
  if (fragment !== undefined) parts.push(`fragment ${fragment.number} of ${fragment.total}`);
  if (reassembled !== undefined) parts.push(`put together from frames ${reassembled.join(', ')}`);
  if (error !== undefined) parts.push(`error: ${error}`);
  return parts.join('; ');
}

/** A payload or a part of one: its type and its plain fields on a line, its parts below. */
function lines(object: JsonObject, indent: string, title = ''): string[] {
  const own = title === '' ? [] : [title];
  const below: string[] = [];
  for (const [key, value] of Object.entries(object)) {
    if (isParts(value)) {
      for (const part of value) below.push(...lines(part, `${indent}  `, key.slice(0, -1)));
    } else if (key === 'type' && title === '') own.push(String(value));
    else if (value !== '') own.push(`${key}=${valueText(value)}`);
  }
  return [indent + own.join(' '), ...below];
}

function isParts(value: Json): value is readonly JsonObject[] {
  return Array.isArray(value) && value.every((part) => typeof part === 'object');
}

function valueText(value: Json): string {
  if (Array.isArray(value)) return value.join(',');
  return typeof value === 'string' && /^[\w./:-]+$/.test(value) ? value : JSON.stringify(value);
}
