import { UnsupportedAlgorithm } from '../../src/crypto/provider.ts';
import type { End } from '../support/pair.ts';
import type { Work } from './metered-crypto.ts';
import { digest, type Rig } from './rig.ts';

/** Something that must not happen, whatever a datagram says. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** Outputs that one datagram may cause at most: messages, operations and events. */
export const MAX_OUTPUTS = 24;

/** Calls of the provider that one datagram may cost at most. */
export const MAX_WORK: Work = {
  random: 12,
  prf: 80,
  hash: 12,
  keyExchange: 2,
  agree: 2,
  seal: 6,
  open: 2,
  sign: 2,
  verify: 2,
};

/** What one that is not the peer's may cost an established IKE SA: looking, and no more. */
export const MAX_WORK_OF_STRANGERS: Work = {
  random: 0,
  prf: 0,
  hash: 1,
  keyExchange: 0,
  agree: 0,
  seal: 0,
  open: 1,
  sign: 0,
  verify: 0,
};

/** What is known of all ends ahead of a datagram. */
export interface Before {
  readonly digests: ReadonlyMap<End, string>;
  readonly sent: number;
  readonly outputs: number;
}

export function lookBefore(rig: Rig): Before {
  rig.crypto.takeWork();
  return {
    digests: new Map(endsOf(rig).map((end) => [end, digest(end)])),
    sent: rig.pair.sent.length,
    outputs: outputsOf(rig),
  };
}

/**
 * Judges what a datagram has brought about.
 * @param proved - whether it was sealed with the right keys
 * @param target - whom alone it was handed to; undefined: whom it belongs to
 * @throws Violation
 */
export function judge(rig: Rig, before: Before, proved: boolean, target: End | undefined): Work {
  const { pair } = rig;
  const work = rig.crypto.takeWork();
  const outputs = outputsOf(rig) - before.outputs;
  if (outputs > MAX_OUTPUTS) throw new Violation(`one datagram caused ${outputs} outputs`);
  for (const end of endsOf(rig)) {
    expectNoDefect(end);
    if (end.ike.poll() !== undefined) throw new Violation('an output was left after draining');
    if (end.eventTypes.indexOf('closed') < end.eventTypes.length - 1 && end.eventTypes.includes('closed')) {
      throw new Violation('an event came after the last one');
    }
  }
  const isStranger = !proved && target?.ike.established === true;
  expectWork(work, isStranger ? MAX_WORK_OF_STRANGERS : MAX_WORK);
  if (proved) return work;
  for (const [end, digestBefore] of before.digests) {
    const closedBefore = digestBefore.startsWith('true');
    if (end.ike.closed && !closedBefore)
      throw new Violation('a datagram of a stranger closed an IKE SA at once');
    const wasEstablished = digestBefore.startsWith('false|true');
    if (!wasEstablished && !closedBefore) continue;
    const now = digest(end);
    if (now === digestBefore) continue;
    throw new Violation(`a datagram of a stranger changed an IKE SA from ${digestBefore} to ${now}`);
  }
  if (target !== undefined && isStranger) {
    for (const { message } of pair.sent.slice(before.sent)) {
      const isRepeated = pair.sent
        .slice(0, before.sent)
        .some(({ message: earlier }) => Buffer.compare(earlier, message) === 0);
      if (!isRepeated) throw new Violation('an established IKE SA answered a stranger');
    }
  }
  return work;
}

/** The IKE SAs that are looked at: of a responder that makes ever more of them the last ones. */
function endsOf({ pair }: Rig): readonly End[] {
  return [pair.initiator, ...pair.responders.slice(-4)];
}

/** The core turns what nobody has declared into a LocalError: that must not be how an IKE SA ends. */
function expectNoDefect({ events }: End): void {
  for (const event of events) {
    const cause = 'error' in event ? event.error?.cause : undefined;
    if (cause === undefined || cause instanceof UnsupportedAlgorithm) continue;
    throw new Violation(`a defect: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function expectWork(work: Work, limits: Work): void {
  for (const kind of Object.keys(work) as (keyof Work)[]) {
    if (work[kind] > limits[kind]) throw new Violation(`one datagram cost ${work[kind]} calls of ${kind}`);
  }
}

function outputsOf({ pair }: Rig): number {
  const logs = pair.initiator.store.log.length + pair.responderStore.log.length;
  const events = [pair.initiator, ...pair.responders].reduce((sum, end) => sum + end.events.length, 0);
  return pair.sent.length + logs + events;
}

/** When everything is over: each IKE SA has said so once, and no backend holds anything. @throws Violation */
export function expectNothingLeft({ pair }: Rig): void {
  for (const end of [pair.initiator, ...pair.responders]) {
    expectNoDefect(end);
    if (!end.ike.closed) throw new Violation(`an IKE SA is left over (${end.eventTypes.join(', ')})`);
    if (end.ike.nextTimeout !== undefined) throw new Violation('a closed IKE SA waits for something');
    if (
      end.eventTypes.filter((type) => type === 'closed').length !== 1 ||
      end.eventTypes.at(-1) !== 'closed'
    ) {
      throw new Violation(
        `an IKE SA has not said once, last, that it is closed: ${end.eventTypes.join(', ')}`,
      );
    }
    const { inbound, outbound, reserved } = end.store;
    if (!end.store.isEmpty) {
      throw new Violation(
        `a backend holds ${inbound.size} inbound and ${outbound.size} outbound SAs and ${reserved.size} SPIs`,
      );
    }
  }
}
