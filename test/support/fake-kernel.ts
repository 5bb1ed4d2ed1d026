import {
  describeFailure,
  isDone,
  type XfrmChannel,
  XfrmError,
  type XfrmFailure,
} from '../../src/backend/xfrm/channel.ts';
import type {
  InstalledState,
  XfrmEvent,
  XfrmPolicy,
  XfrmPolicyId,
  XfrmRequest,
  XfrmState,
  XfrmStateId,
} from '../../src/backend/xfrm/model.ts';
import type { Xfrm } from '../../src/backend/xfrm/xfrm.ts';

const NOTHING = { octets: 0, packets: 0, replayed: 0, badIcv: 0 };

type FakeState = XfrmState & InstalledState;

/** The IPsec of a kernel that carries nothing, and that tells no keys: which SAs and policies there are. */
export class FakeKernel implements XfrmChannel {
  readonly installed = new Map<string, FakeState>();
  readonly rules = new Map<string, XfrmPolicy>();
  /** Called before each request: the errno of its failure, if any. */
  refuse: (request: XfrmRequest) => string | undefined = () => undefined;
  /** It does not tell of an SA. */
  fails = false;
  /** Awaited before each request. */
  delay: () => Promise<void> = async () => {};
  /** Called after each request. */
  watch: () => void = () => {};
  readonly #listeners = new Set<(event: XfrmEvent) => void>();

  async apply(requests: readonly XfrmRequest[]): Promise<XfrmFailure | undefined> {
    for (const [index, request] of requests.entries()) {
      await this.delay();
      const code = this.refuse(request) ?? this.#carryOut(request);
      this.watch();
      if (code !== undefined && !isDone(request, code))
        return { index, code, error: describeFailure(request, code) };
    }
    return undefined;
  }

  async state(id: XfrmStateId): Promise<InstalledState | undefined> {
    await this.delay();
    if (this.fails) throw new XfrmError('the kernel does not tell of its IPsec: EIO');
    const state = this.installed.get(stateKey(id));
    return state && told(state);
  }

  async states(): Promise<readonly InstalledState[]> {
    await this.delay();
    return [...this.installed.values()].map(told);
  }

  async policies(): Promise<readonly XfrmPolicy[]> {
    return [...this.rules.values()];
  }

  onEvent(listener: (event: XfrmEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {}

  tell(event: XfrmEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  /** Has an SA carry more, and past a hard limit be gone. */
  carry(spi: number, packets: number): FakeState {
    const [key, state] = [...this.installed].find(([, { spi: other }]) => other === spi)!;
    const carried = { ...state, packets: state.packets + packets, octets: state.octets + 100 * packets };
    this.installed.set(key, carried);
    if (carried.packets >= (state.limits.hardPackets ?? Number.POSITIVE_INFINITY)) this.installed.delete(key);
    return carried;
  }

  #carryOut(request: XfrmRequest): string | undefined {
    switch (request.kind) {
      case 'add-state':
        return this.#add(this.installed, stateKey(request.state), keep(request.state));
      case 'add-policy':
        return this.#add(this.rules, policyKey(request.policy), request.policy);
      case 'update-policy':
        this.rules.set(policyKey(request.policy), request.policy);
        return undefined;
      case 'delete-state':
        return this.installed.delete(stateKey(request.id)) ? undefined : 'ESRCH';
      case 'delete-policy':
        return this.rules.delete(policyKey(request.id)) ? undefined : 'ENOENT';
    }
  }

  #add<T>(map: Map<string, T>, key: string, value: T): string | undefined {
    if (map.has(key)) return 'EEXIST';
    map.set(key, value);
    return undefined;
  }
}

/** Our share of a kernel, of which there is no other. */
export function fakeXfrm(channel: XfrmChannel): Xfrm & { readonly taken: ReadonlySet<number> } {
  const taken = new Set<number>();
  let last = 0xa700_0000;
  return {
    channel,
    taken,
    prefix: 'ikt0',
    allocate() {
      taken.add(++last);
      return last;
    },
    release: (number) => void taken.delete(number),
    deviceName: (number) => `ikt0-${number % 2 ** 18}`,
    async block() {},
    async close() {},
  };
}

function told({ algorithms: _, ...state }: FakeState): InstalledState {
  return state;
}

/** With a copy of the keys, as the kernel has one. */
function keep(state: XfrmState): FakeState {
  return { ...structuredClone(state), ...NOTHING };
}

function stateKey({ destination, spi, mark }: XfrmStateId): string {
  return JSON.stringify([destination, spi, mark]);
}

function policyKey({ direction, selector, mark, interfaceId }: XfrmPolicyId): string {
  const { source, destination, ...rest } = selector;
  const prefixes = [source, destination].map(({ bytes, length }) => [...bytes, length]);
  return JSON.stringify([direction, prefixes, rest, mark, interfaceId]);
}
