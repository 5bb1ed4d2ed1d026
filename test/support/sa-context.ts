import { JobQueue } from '../../src/ike/job-queue.ts';
import { Outbox } from '../../src/ike/outbox.ts';
import { RateLimit } from '../../src/ike/rate-limit.ts';
import { type Lineage, newContext, type SaContext } from '../../src/ike/sa-context.ts';
import { Agenda } from '../../src/ike/timers.ts';
import { initiatorConfig, sharedKey, TO_RESPONDER } from './ike-configs.ts';
import { testCrypto } from './pair.ts';

/** The context of a responder's IKE SA that nothing runs. */
export function idleContext(): SaContext {
  const nothing = () => {};
  const lineage: Lineage = {
    role: 'responder',
    config: initiatorConfig(testCrypto(61).provider, sharedKey('s')),
    outbox: new Outbox(),
    jobs: new JobQueue(),
    agenda: new Agenda(),
    now: 0,
    get current() {
      return sa;
    },
    candidate: undefined,
    profile: undefined,
    childCount: 0,
    childLoss: undefined,
    assigned: undefined,
    strayDeletes: undefined,
    exchangeBudget: new RateLimit(1, 1),
    nat: undefined,
    startedInUdp: false,
    mobility: undefined,
    found: () => sa,
    ended: nothing,
  };
  const founding = { role: 'responder', localSpi: new Uint8Array(8), origin: TO_RESPONDER } as const;
  const sa: SaContext = newContext(lineage, founding, {
    emit: nothing,
    submit: nothing,
    enqueue: nothing,
    rekey: nothing,
    close: nothing,
    end: nothing,
    wake: nothing,
  });
  return sa;
}
