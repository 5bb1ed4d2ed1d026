import { expect } from 'vitest';
import { IkeLineage } from '../../src/ike/lineage.ts';
import { ResponderGate } from '../../src/ike/responder-gate.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import { COOKIE_THRESHOLD, initiatorConfig, responderConfig } from '../interop/ours.ts';
import { viewsOf } from '../interop/run-cell.ts';
import { pathOf, plain, type RecordedEvent, type Recording, recordedOutput, revived } from './recording.ts';
import { seededCrypto, seededKeys } from './seeded.ts';

/** Tells cores what they were told then, and expects them to want what they wanted then, octet for octet. */
export function replay({ cell, seed, events }: Recording): void {
  const crypto = seededCrypto(seed);
  const { connection, ours } = viewsOf(cell, seededKeys(seed));
  const { connection: difference, ...changes } = ours;
  const view = { ...connection, ...difference };
  const answers = cell.role === 'responder' && {
    config: responderConfig(crypto, view, changes),
    gate: new ResponderGate({
      crypto,
      cookieThreshold: changes.listener?.cookieThreshold ?? COOKIE_THRESHOLD,
    }),
  };
  const lineages: IkeLineage[] = [];
  let admitted: Extract<RecordedEvent, { readonly kind: 'admit' }> | undefined;
  for (const event of events) {
    const { at } = event;
    const ike = lineages[event.ike];
    switch (event.kind) {
      case 'initiate': {
        const traversal = pathOf(event.traversal);
        const config = initiatorConfig(crypto, view, { ...changes.initiator, traversal });
        lineages.push(IkeLineage.initiate(config, pathOf(event.path), at));
        break;
      }
      case 'admit': {
        const { message, path, load, verdict, answer } = event;
        if (!answers) throw new Error('an initiator has no gate');
        const admission = answers.gate.admit(fromHex(message), pathOf(path), load, at);
        const said = 'message' in admission ? hex(admission.message) : undefined;
        expect({ verdict: admission.kind, answer: said }).toEqual({ verdict, answer });
        admitted = event;
        break;
      }
      case 'respond':
        if (!answers || admitted === undefined) throw new Error('nothing was admitted');
        lineages.push(
          IkeLineage.respond(answers.config, fromHex(admitted.message), pathOf(admitted.path), at),
        );
        break;
      case 'received':
        ike.handleDatagram(fromHex(event.message), pathOf(event.path), at);
        break;
      case 'call': {
        const method = Reflect.get(ike, event.method) as (...values: unknown[]) => void;
        method.call(ike, ...event.values.map(revived), at);
        break;
      }
      case 'timer':
        expect(ike.nextTimeout ?? null).toBe(event.until);
        break;
      default: {
        const output = ike.poll();
        const actual = output && plain({ at, ike: event.ike, ...recordedOutput(output) });
        expect(actual).toEqual(event);
      }
    }
  }
  for (const ike of lineages) expect(ike.poll()).toBeUndefined();
}
