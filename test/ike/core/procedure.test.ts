import { describe, expect, it } from 'vitest';
import { LocalError } from '../../../src/ike/errors.ts';
import { type Effect, type Outcome, operation, type Procedure, Run } from '../../../src/ike/procedure.ts';
import { TO_RESPONDER } from '../../support/ike-configs.ts';

const RESERVE = { kind: 'reserve', path: TO_RESPONDER } as const;

function start(cleanedUp: string[]) {
  const effects: Effect[] = [];
  const outcomes: Outcome<number>[] = [];
  function* procedure(): Procedure<number> {
    try {
      const first = yield* operation(RESERVE);
      const second = yield* operation(RESERVE);
      return (first.ok ? first.spi : 0) + (second.ok ? second.spi : 0);
    } finally {
      cleanedUp.push('done');
    }
  }
  const run = new Run(
    procedure(),
    (effect) => effects.push(effect),
    (outcome) => outcomes.push(outcome),
  );
  run.start();
  return { run, effects, outcomes };
}

describe('a run', () => {
  it('performs each effect, is resumed with its result, and settles once', () => {
    const { run, effects, outcomes } = start([]);
    expect(effects).toHaveLength(1);
    run.resume({ ok: true, spi: 40 });
    run.resume({ ok: true, spi: 2 });
    run.resume({ ok: true, spi: 2 });
    expect(effects).toHaveLength(2);
    expect(outcomes).toEqual([{ ok: true, value: 42 }]);
    expect(run.ended).toBe(true);
  });

  it('fails with what it was failed with', () => {
    const cleanedUp: string[] = [];
    const { run, outcomes } = start(cleanedUp);
    const error = new LocalError('no');
    run.fail(error);
    expect(outcomes).toEqual([{ ok: false, error }]);
    expect(cleanedUp).toEqual(['done']);
  });

  it('cleans up when it is ended, at each place, and then neither settles nor goes on', () => {
    for (const resumes of [0, 1]) {
      const cleanedUp: string[] = [];
      const { run, effects, outcomes } = start(cleanedUp);
      for (let i = 0; i < resumes; i++) run.resume({ ok: true, spi: 1 });
      run.end();
      run.end();
      run.resume({ ok: true, spi: 1 });
      run.fail(new LocalError('late'));
      expect(cleanedUp).toEqual(['done']);
      expect(effects).toHaveLength(1 + resumes);
      expect(outcomes).toEqual([]);
    }
  });
});
