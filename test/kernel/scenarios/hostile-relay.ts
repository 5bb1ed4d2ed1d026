import { ownFirstMessage } from '../../interop/first-message.ts';
import { pause } from '../../interop/transfer.ts';
import { Captures } from '../captures.ts';
import { CheckError } from '../checks.ts';
import { Forger } from '../forger.ts';
import type { NetworkSpec } from '../network.ts';
import type { Scenario } from '../scenarios.ts';
import { openBrowser } from '../web.ts';
import { ADDRESSES } from '../world.ts';
import { expectFiles, openClient } from './telescope.ts';

const COUNT = 20;
/** After so many milliseconds without an answer there is none any more. */
const QUIET = 3_000;
/** Addresses that A and C assign, to nobody here. */
const OF_A = '10.171.99.99';
const OF_C = '10.205.99.99';

/**
 * A has all keys of its overlay to B, and sends whatever it likes through it. What it may send gets to B's IKE; nothing else gets
 * anywhere: in the name of clients of B or of others, to clients of B, or beyond B.
 */
export function hostileRelay(title: string, network: NetworkSpec): Scenario {
  return {
    title,
    network,
    async run(stage) {
      const { world, relays, say } = stage;
      const telescope = await openClient(stage, 'userspace', 'S', ['A', 'B', 'C']);
      const browser = openBrowser(telescope);
      await expectFiles(browser, relays.C);
      browser.close();
      say('the telescope is up');
      const [, , { source: assignedByB }] = telescope.hops;
      const captures = new Captures(world);
      const forger = await Forger.open(world, 'A', 'B');
      const send = (source: string, destination: string, port = 500) => {
        for (let i = 0; i < COUNT; i++) forger.send(ownFirstMessage(), { source, destination, port });
      };
      const inject = async (...packet: Parameters<typeof send>) => {
        const before = captures.count();
        send(...packet);
        await pause(500);
        return captures.count(before);
      };
      const before = captures.count();
      send(OF_A, ADDRESSES.B.ip4);
      let answered = 0;
      // Until the last has come: it is not to be taken for an answer to what follows.
      for (
        let last = performance.now();
        answered < COUNT && performance.now() < last + QUIET;
        await pause(20)
      ) {
        const now = captures.count(before)('B', 'from', 'esp');
        if (now > answered) last = performance.now();
        answered = now;
      }
      if (answered < COUNT / 2)
        throw new CheckError('B does not answer what A may send: nothing would be seen of what it may not');
      const forgeries: readonly (readonly [
        what: string,
        source: string,
        destination: string,
        port?: number,
      ])[] = [
        ['to C as a client of B', assignedByB, ADDRESSES.C.ip4],
        ['to D as a client of B', assignedByB, ADDRESSES.D.ip4, 7],
        ['to B as a client of B', assignedByB, ADDRESSES.B.ip4],
        ['to C from an address of A', OF_A, ADDRESSES.C.ip4],
        ['to D from an address of A', OF_A, ADDRESSES.D.ip4, 7],
        ['to a client of B', OF_A, assignedByB],
        ['to B as a client of C', OF_C, ADDRESSES.B.ip4],
        ['to B as C', ADDRESSES.C.ip4, ADDRESSES.B.ip4],
        ['to B as T', ADDRESSES.T.ip4, ADDRESSES.B.ip4],
        ['to T from an address of A', OF_A, ADDRESSES.T.ip4],
      ];
      for (const [what, ...packet] of forgeries) {
        const seen = await inject(...packet);
        if (seen('A', 'from', 'esp') < COUNT)
          throw new CheckError(`A has not sent what it has forged ${what}`);
        // Overlays ask each other now and then whether they are alive, over IKE; nobody else has anything to say.
        const results = [
          ['B has sent ESP', seen('B', 'from', 'esp')],
          ['B has sent something else', seen('B', 'from', 'other')],
          ...(['C', 'D', 'T'] as const).flatMap((node) => [
            [`${node} has received ESP`, seen(node, 'to', 'esp')] as const,
            [`${node} has received something`, seen(node, 'to', 'other')] as const,
          ]),
        ] as const;
        for (const [event, count] of results)
          if (count >= COUNT / 2)
            throw new CheckError(`A has sent packets ${what}, and ${event}, ${count} packets`);
      }
      forger.close();
      captures.close();
      await telescope.close();
      return { forgeries: forgeries.length };
    },
  };
}
