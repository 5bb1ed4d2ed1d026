import type { Payload } from '../../src/ike/payload/index.ts';
import { Rig } from './rig.ts';
import { SETUP_NAMES } from './scenarios.ts';

/** What an honest message says. */
export interface Utterance {
  readonly exchangeType: number;
  readonly response: boolean;
  readonly payloads: readonly Payload[];
}

/** Honest messages of every exchange that the scenarios have: what attacks are made of. */
export interface Library {
  readonly datagrams: readonly Uint8Array[];
  readonly utterances: readonly Utterance[];
  readonly payloads: readonly Payload[];
}

/** Scenarios of each set-up whose messages are collected. */
const RUNS = 4;

let collected: Library | undefined;

/** The same for everybody, whatever the seed of what is done with it. */
export function honestLibrary(): Library {
  collected ??= collect();
  return collected;
}

function collect(): Library {
  const datagrams: Uint8Array[] = [];
  const utterances: Utterance[] = [];
  for (const setup of SETUP_NAMES) {
    for (let run = 0; run < RUNS; run++) {
      const rig = new Rig({ setup, seed: run + 1, cut: 1_500 });
      for (const { message } of rig.pair.sent) {
        datagrams.push(message);
        const payloads = rig.read(message);
        if (payloads === undefined) continue;
        utterances.push({ exchangeType: message[18], response: (message[19] & 0x20) !== 0, payloads });
      }
    }
  }
  return { datagrams, utterances, payloads: utterances.flatMap(({ payloads }) => payloads) };
}
