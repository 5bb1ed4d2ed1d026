import { createHash } from 'node:crypto';
import type { Output } from '../../src/ike/output.ts';
import type { Load } from '../../src/ike/responder-gate.ts';
import type { Millis } from '../../src/link/clock.ts';
import type { Origin } from '../../src/link/link.ts';
import type { SaOperation } from '../../src/link/sa-store.ts';
import { addressText } from '../../src/wire/address.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import type { TrafficSelector } from '../../src/wire/traffic-selector.ts';
import type { Cell } from '../interop/cells.ts';

/** A flow between a daemon and our end: all that the cores of ours were told, and all that they wanted done, in order. */
export interface Recording {
  /** Daemon, our role, and the names of all that its configuration is made of. */
  readonly cell: Cell;
  /** Of the daemon, as it reports it. */
  readonly version: string;
  /** ISO 8601. */
  readonly date: string;
  /** Of everything random, and of the keys. */
  readonly seed: number;
  readonly events: readonly RecordedEvent[];
}

/** What happened at a time; `ike` is the number of the lineage. Octets are hex, paths those of `pathText`. */
export type RecordedEvent = { readonly at: Millis; readonly ike: number } & (
  | { readonly kind: 'initiate'; readonly path: string; readonly traversal: string }
  /** Answers what was admitted last. */
  | { readonly kind: 'respond' }
  | { readonly kind: 'received'; readonly path: string; readonly message: string }
  /** Another method of the core; values are those of `plain`. */
  | { readonly kind: 'call'; readonly method: string; readonly values: readonly unknown[] }
  | RecordedOutput
  /** When it wants to be called, if that has changed. */
  | { readonly kind: 'timer'; readonly until: Millis | null }
  /** The gate has judged a message of no IKE SA. */
  | {
      readonly kind: 'admit';
      readonly path: string;
      readonly message: string;
      readonly load: Load;
      readonly verdict: string;
      readonly answer?: string;
    }
);

/** What a core wanted done. */
export type RecordedOutput =
  | { readonly kind: 'sent'; readonly path: string; readonly message: string }
  | { readonly kind: 'event'; readonly type: string; readonly error?: string; readonly spis?: string }
  | {
      readonly kind: 'operation';
      readonly id: number;
      readonly operation: SaOperation['kind'];
      /** Which SA, and for those that are installed: its algorithms, a digest of its keys, and what it carries. */
      readonly sa: string;
    };

/** What is kept of an output; the digest of keys is made before they are overwritten. */
export function recordedOutput(output: Output): RecordedOutput {
  switch (output.kind) {
    case 'transmit':
      return { kind: 'sent', path: pathText(output.to), message: hex(output.message) };
    case 'operation':
      return {
        kind: 'operation',
        id: output.id,
        operation: output.operation.kind,
        sa: saText(output.operation),
      };
    case 'event': {
      const { event } = output;
      return {
        kind: 'event',
        type: event.type,
        ...('error' in event && event.error && { error: `${event.error.name}: ${event.error.message}` }),
        ...('child' in event && { spis: `${spiText(event.child.spiIn)} ${spiText(event.child.spiOut)}` }),
      };
    }
  }
}

function saText(operation: SaOperation): string {
  switch (operation.kind) {
    case 'reserve':
      return '';
    case 'inbound':
    case 'outbound': {
      const { spi, suite, keys, tunnel, path } = operation.sa;
      const digest = createHash('sha256').update(keys.encryption).update(keys.integrity).digest('hex');
      const carries = [tunnel.local, tunnel.remote]
        .map((each) => each.map(selectorText).join(', '))
        .join(' to ');
      const algorithms = `${suite.encryption}/${suite.keyLength}/${suite.integrity}${suite.esn ? ' ESN' : ''}`;
      return `${spiText(spi)} ${algorithms}, keys ${digest}, ${carries}, ${pathText(path)}`;
    }
    case 'remove':
      return `${spiText(operation.spi)} ${operation.direction}`;
    case 'move':
      return `${spiText(operation.spi)} to ${pathText(operation.path)}`;
  }
}

function selectorText({ protocol, startPort, endPort, startAddress, endAddress }: TrafficSelector): string {
  return `${protocol}/${startPort}-${endPort}/${addressText(startAddress)}-${addressText(endAddress)}`;
}

function spiText(spi: number): string {
  return spi.toString(16).padStart(8, '0');
}

/** Address and port of the peer, and ours, and whether messages have the non-ESP marker: "192.0.2.1 500 192.0.2.2 500". */
export function pathText({ address, port, localAddress, localPort, encapsulated }: Origin): string {
  return [address, port, localAddress, localPort, ...(encapsulated ? ['encapsulated'] : [])].join(' ');
}

/** The origin that such a text stands for. */
export function pathOf(text: string): Origin {
  const [address, port, localAddress, localPort, encapsulated] = text.split(' ');
  return {
    linkId: 'host',
    address,
    port: Number(port),
    localAddress,
    localPort: Number(localPort),
    encapsulated: encapsulated !== undefined,
  };
}

/** A value that JSON can say: octets become {"octets": hex}. */
export function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, each) => (each instanceof Uint8Array ? { octets: hex(each) } : each)),
  );
}

/** The value again. */
export function revived(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_, each) =>
    typeof each?.octets === 'string' ? fromHex(each.octets) : each,
  );
}

/** The file of a recording: one event a line. */
export function recordingText({ events, ...head }: Recording): string {
  const fields = Object.entries(head).map(([name, value]) => `  "${name}": ${JSON.stringify(value)},\n`);
  const lines = events.map((event) => `    ${JSON.stringify(event)}`);
  return `{\n${fields.join('')}  "events": [\n${lines.join(',\n')}\n  ]\n}\n`;
}
