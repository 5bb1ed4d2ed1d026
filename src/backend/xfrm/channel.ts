import type { InstalledState, XfrmEvent, XfrmPolicy, XfrmRequest, XfrmStateId } from './model.ts';

/** The first request that failed: those before it were carried out, those after it were not. */
export interface XfrmFailure {
  readonly index: number;
  /** The errno's name, such as EEXIST. */
  readonly code: string;
  /** For the operator: what, why, what to do. */
  readonly error: string;
}

/** Runs `action` (synchronous) with this thread in the network namespace; a process that it starts stays there. */
export type Enter = <T>(action: () => T) => T;

/** The way to the IPsec of the kernel in one network namespace: a netlink socket, or the program `ip`. */
export interface XfrmChannel {
  /** Carries requests out in order, up to the first that fails. Never rejects. */
  apply(requests: readonly XfrmRequest[]): Promise<XfrmFailure | undefined>;
  /** Undefined if there is none. @throws XfrmError */
  state(id: XfrmStateId): Promise<InstalledState | undefined>;
  /** Every ESP SA in tunnel mode, whoever has installed it. @throws XfrmError */
  states(): Promise<readonly InstalledState[]>;
  /** Every policy with one template of ESP in tunnel mode, whoever has installed it. @throws XfrmError */
  policies(): Promise<readonly XfrmPolicy[]>;
  /** Calls back for every event until the result is called. A channel may have none: who listens also looks from time to time. */
  onEvent(listener: (event: XfrmEvent) => void): () => void;
  close(): Promise<void>;
}

/** The kernel's IPsec cannot be used; the message says why and what to do. */
export class XfrmError extends Error {
  override readonly name = 'XfrmError';
}

/** What to do about an errno. */
export const REMEDIES: Readonly<Record<string, string>> = {
  EPERM: 'it needs CAP_NET_ADMIN: run as root',
  ENOSYS: 'the kernel lacks an algorithm of the suite: load its module, or leave the suite out',
  EPROTONOSUPPORT: 'the kernel has no ESP: load the modules esp4 and esp6',
  EEXIST: 'there is one already, of this or of another program',
};

/** "the kernel refuses to add an SA: EEXIST (its words); what to do". */
export function describeFailure(request: XfrmRequest, code: string, words?: string): string {
  const remedy = REMEDIES[code];
  const said = words === undefined ? '' : ` (${words})`;
  return `the kernel refuses to ${ACTIONS[request.kind]}: ${code}${said}${remedy === undefined ? '' : `; ${remedy}`}`;
}

const ACTIONS: Readonly<Record<XfrmRequest['kind'], string>> = {
  'add-state': 'add an SA',
  'delete-state': 'delete an SA',
  'add-policy': 'add a policy',
  'update-policy': 'replace a policy',
  'delete-policy': 'delete a policy',
};

/** Whether a request that failed with `code` has nothing left to do. */
export function isDone({ kind }: XfrmRequest, code: string): boolean {
  return (kind === 'delete-state' || kind === 'delete-policy') && (code === 'ESRCH' || code === 'ENOENT');
}
