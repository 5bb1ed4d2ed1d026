import type { Origin } from '../link/link.ts';
import type { SaOperation, SaResult } from '../link/sa-store.ts';
import { ExchangeType } from './constants.ts';
import type { IkeError } from './errors.ts';
import type { IkeHeader } from './header.ts';
import type { Payload } from './payload/index.ts';
import type { PuzzleSolver } from './puzzle.ts';

/** A message that was decoded and, if the IKE SA has keys, verified. */
export interface Message {
  readonly header: IkeHeader;
  readonly payloads: readonly Payload[];
  /** The whole message, as it was received; of a protected one the clear form that RFC 9242 3.3.2 authenticates. */
  readonly bytes: Uint8Array;
  /** Where it came from. */
  readonly origin: Origin;
}

/** What a procedure asks for, and then waits for. */
export type Effect =
  /** Sends an IKE_SA_INIT request, which nothing protects; resumed with whatever comes as its response. */
  | { readonly kind: 'initial-exchange'; readonly request: Uint8Array }
  /**
   * The response was not one to go by (it is not authenticated): waits for another to the same request. With `hint` not for
   * the whole schedule, but only for a grace, and then fails with it (RFC 7296 2.21.1).
   */
  | { readonly kind: 'wait-again'; readonly hint?: IkeError }
  /** Sends a protected request and is resumed with its response; that to a farewell is not waited for for long. */
  | {
      readonly kind: 'exchange';
      readonly exchangeType: number;
      readonly payloads: readonly Payload[];
      readonly isFarewell: boolean;
      readonly puzzleSolution?: Uint8Array;
    }
  /** Works at a puzzle; resumed with its solution, or with a response that comes before that. */
  | { readonly kind: 'puzzle'; readonly solver: PuzzleSolver }
  /** Has the backend do something and is resumed with the result. */
  | { readonly kind: 'operation'; readonly operation: SaOperation };

type Resume = Message | SaResult | Uint8Array;

/**
 * One side's part of an exchange or of several, written as a synchronous generator: it yields what it wants done and is
 * resumed with what came of it. It throws an `IkeError` if it fails, and cleans up in `finally`, also when it is ended
 * from outside because the IKE SA is gone.
 */
export type Procedure<R> = Generator<Effect, R, Resume>;

export function* initialExchange(request: Uint8Array): Procedure<Message> {
  return (yield { kind: 'initial-exchange', request }) as Message;
}

export function* awaitResponse(hint?: IkeError): Procedure<Message> {
  return (yield hint === undefined ? { kind: 'wait-again' } : { kind: 'wait-again', hint }) as Message;
}

/** @throws NoAnswerError when the schedule is exhausted, which ends the IKE SA */
export function* exchange(
  exchangeType: number,
  payloads: readonly Payload[],
  puzzleSolution?: Uint8Array,
): Procedure<Message> {
  const solution = puzzleSolution === undefined ? {} : { puzzleSolution };
  return (yield { kind: 'exchange', exchangeType, payloads, isFarewell: false, ...solution }) as Message;
}

/** The Puzzle Solution Data, or the response that came before it was found. */
export function* solve(solver: PuzzleSolver): Procedure<Uint8Array | Message> {
  return (yield { kind: 'puzzle', solver }) as Uint8Array | Message;
}

/** Tells the peer that the IKE SA is over. Whether it answers, and what, makes no difference. */
export function* farewell(payloads: readonly Payload[]): Procedure<void> {
  try {
    yield { kind: 'exchange', exchangeType: ExchangeType.INFORMATIONAL, payloads, isFarewell: true };
  } catch {
    // There is nothing left that could fail.
  }
}

export function* operation(operation: SaOperation): Procedure<SaResult> {
  return (yield { kind: 'operation', operation }) as SaResult;
}

/** How a procedure ended. */
export type Outcome<R> =
  | { readonly ok: true; readonly value: R }
  | { readonly ok: false; readonly error: unknown };

/** A procedure under way. */
export class Run<R> {
  readonly #procedure: Procedure<R>;
  readonly #perform: (effect: Effect) => void;
  readonly #settle: (outcome: Outcome<R>) => void;
  #ended = false;

  /**
   * @param perform - starts what the procedure asks for; `resume` or `fail` is to be called later, not from within
   * @param settle - called once, unless the procedure is ended from outside
   */
  constructor(
    procedure: Procedure<R>,
    perform: (effect: Effect) => void,
    settle: (outcome: Outcome<R>) => void,
  ) {
    this.#procedure = procedure;
    this.#perform = perform;
    this.#settle = settle;
  }

  get ended(): boolean {
    return this.#ended;
  }

  start(): void {
    this.#advance(() => this.#procedure.next());
  }

  resume(value: Resume): void {
    this.#advance(() => this.#procedure.next(value));
  }

  /** What it waits for will not come. */
  fail(error: IkeError): void {
    this.#advance(() => this.#procedure.throw(error));
  }

  /** Ends it where it waits. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#procedure.return(undefined as R);
  }

  #advance(step: () => IteratorResult<Effect, R>): void {
    if (this.#ended) return;
    let result: IteratorResult<Effect, R>;
    try {
      result = step();
    } catch (error) {
      this.#ended = true;
      this.#settle({ ok: false, error });
      return;
    }
    if (!result.done) {
      this.#perform(result.value);
      return;
    }
    this.#ended = true;
    this.#settle({ ok: true, value: result.value });
  }
}
