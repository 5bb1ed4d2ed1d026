import { systemClock } from '../../src/endpoint/system-clock.ts';
import { IkeLineage } from '../../src/ike/lineage.ts';
import type { Output } from '../../src/ike/output.ts';
import { ResponderGate } from '../../src/ike/responder-gate.ts';
import type { Clock, Millis } from '../../src/link/clock.ts';
import type { Origin } from '../../src/link/link.ts';
import { hex } from '../../src/wire/bytes.ts';
import { pathText, plain, type RecordedEvent, recordedOutput } from './recording.ts';

/** Writes down what goes in and out of every core and gate that is made while it is attached: one recorder at a time. */
export class Recorder {
  readonly events: RecordedEvent[] = [];
  /** Whole milliseconds since the recorder was made, never early. */
  readonly clock: Clock;
  #lineages = 0;
  #last: Millis = 0;

  constructor() {
    const start = systemClock.now();
    this.clock = {
      now: () => Math.ceil(systemClock.now() - start),
      at: (at, callback) => systemClock.at(start + at, callback),
    };
  }

  /** Puts itself between the cores and the endpoint; the result ends that. */
  attach(): () => void {
    const { initiate, respond } = IkeLineage;
    const { admit } = ResponderGate.prototype;
    const wrapped = (made: IkeLineage, ike: number) => this.#wrapped(made, ike);
    const push = (event: RecordedEvent) => this.#push(event);
    IkeLineage.initiate = (config, to, at) => {
      const ike = this.#lineages++;
      push({ at, ike, kind: 'initiate', path: pathText(to), traversal: pathText(config.traversal!) });
      return wrapped(initiate.call(IkeLineage, config, to, at), ike);
    };
    IkeLineage.respond = (config, request, origin, at) => {
      const ike = this.#lineages++;
      push({ at, ike, kind: 'respond' });
      return wrapped(respond.call(IkeLineage, config, request, origin, at), ike);
    };
    ResponderGate.prototype.admit = function (message, origin, load, at) {
      const admission = admit.call(this, message, origin, load, at);
      const [path, verdict] = [pathText(origin), admission.kind];
      const answer = 'message' in admission && { answer: hex(admission.message) };
      push({ at, ike: -1, kind: 'admit', path, message: hex(message), load, verdict, ...answer });
      return admission;
    };
    return () => {
      Object.assign(IkeLineage, { initiate, respond });
      ResponderGate.prototype.admit = admit;
    };
  }

  #wrapped(made: IkeLineage, ike: number): IkeLineage {
    let armed: Millis | undefined;
    return new Proxy(made, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (name === 'nextTimeout' && value !== armed) {
          armed = value;
          this.#push({ at: this.#last, ike, kind: 'timer', until: value ?? null });
        }
        if (typeof value !== 'function') return value;
        return (...values: unknown[]) => {
          if (name !== 'poll') this.#call(ike, String(name), values);
          const result = value.apply(target, values);
          if (name === 'poll' && result !== undefined)
            this.#push({ at: this.#last, ike, ...recordedOutput(result as Output) });
          return result;
        };
      },
    });
  }

  /** The last value is the time. */
  #call(ike: number, method: string, values: readonly unknown[]): void {
    const at = values.at(-1) as Millis;
    if (method === 'handleDatagram') {
      const [message, origin] = values as [Uint8Array, Origin];
      this.#push({ at, ike, kind: 'received', path: pathText(origin), message: hex(message) });
    } else this.#push({ at, ike, kind: 'call', method, values: values.slice(0, -1).map(plain) });
  }

  #push(event: RecordedEvent): void {
    this.#last = event.at;
    this.events.push(event);
  }
}
