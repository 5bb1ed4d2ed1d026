import { z } from 'zod';

/** The error codes of JSON-RPC 2.0 (section 5.1), and ours. */
export const ErrorCode = {
  PARSE: -32700,
  INVALID_REQUEST: -32600,
  METHOD_NOT_FOUND: -32601,
  INVALID_PARAMS: -32602,
  INTERNAL: -32603,
  /** The method has refused; the message says why. */
  REFUSED: -32000,
} as const;

/** What a method cannot do, told to its caller. Anything else that it throws is told as an internal error. */
export class MethodError extends Error {
  override readonly name = 'MethodError';
}

/** Who has called a method. */
export interface Caller {
  /** Sends a notification. A caller that does not read loses its connection. */
  notify(method: string, params: object): void;
  /** Aborted when it is gone. */
  readonly gone: AbortSignal;
}

export interface Method {
  readonly params: z.ZodType;
  call(params: unknown, caller: Caller): unknown;
}

/** The methods of a server, by name. */
export type Methods = Readonly<Record<string, Method>>;

/** @param call - its value, or what its promise resolves to, is the result; undefined becomes {} */
export function method<P>(params: z.ZodType<P>, call: (params: P, caller: Caller) => unknown): Method {
  return { params, call: (checked, caller) => call(checked as P, caller) };
}

const requestSchema = z.strictObject({
  jsonrpc: z.literal('2.0'),
  method: z.string(),
  params: z.record(z.string(), z.unknown()).default({}),
  id: z.union([z.string(), z.number(), z.null()]).optional(),
});
type Id = z.infer<typeof requestSchema>['id'];

/** The answer to one line, without its end; undefined for a notification. Never rejects. */
export async function answerTo(line: string, methods: Methods, caller: Caller): Promise<string | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return errorText(null, ErrorCode.PARSE, 'not JSON: one JSON-RPC 2.0 object per line is understood');
  }
  const request = requestSchema.safeParse(value);
  if (!request.success) {
    return errorText(
      null,
      ErrorCode.INVALID_REQUEST,
      `not a JSON-RPC 2.0 request: ${problems(request.error)}`,
    );
  }
  const { id, method: name, params } = request.data;
  const answer = await perform(name, params, methods, caller);
  if (id === undefined) return undefined;
  return 'error' in answer
    ? errorText(id, answer.error, answer.message)
    : JSON.stringify({ jsonrpc: '2.0', id, result: answer.result });
}

async function perform(
  name: string,
  params: unknown,
  methods: Methods,
  caller: Caller,
): Promise<{ readonly result: unknown } | { readonly error: number; readonly message: string }> {
  const found = Object.hasOwn(methods, name) ? methods[name] : undefined;
  if (found === undefined) {
    const message = `no such method; there are ${Object.keys(methods).join(', ')}`;
    return { error: ErrorCode.METHOD_NOT_FOUND, message };
  }
  const checked = found.params.safeParse(params);
  if (!checked.success) return { error: ErrorCode.INVALID_PARAMS, message: problems(checked.error) };
  try {
    return { result: (await found.call(checked.data, caller)) ?? {} };
  } catch (error) {
    if (error instanceof MethodError) return { error: ErrorCode.REFUSED, message: error.message };
    return { error: ErrorCode.INTERNAL, message: 'internal error' };
  }
}

/** A JSON-RPC error, without the end of its line. */
export function errorText(id: Id, code: number, message: string): string {
  return JSON.stringify({ jsonrpc: '2.0', id: id ?? null, error: { code, message } });
}

function problems({ issues }: z.ZodError): string {
  return issues.map(({ path, message }) => [...path.map(String), message].join(': ')).join('; ');
}
