import { compareBytes } from '../wire/bytes.ts';
import { equalSelectors, type TrafficSelector } from '../wire/traffic-selector.ts';

/** A TS payload counts its selectors in one octet. */
const MAX_SELECTORS = 255;

/**
 * Narrowing (RFC 7296 2.9): what is both offered and allowed, in the order of the offer; empty if that is nothing
 * (answered with TS_UNACCEPTABLE). A selector that lies within another one of the result is left out.
 */
export function narrow(
  offered: readonly TrafficSelector[],
  allowed: readonly TrafficSelector[],
): TrafficSelector[] {
  let result: TrafficSelector[] = [];
  for (const offer of offered) {
    for (const allow of allowed) {
      const common = intersection(offer, allow);
      if (common === undefined || isSubset([common], result)) continue;
      result = result.filter((selector) => !isSubset([selector], [common]));
      if (result.length < MAX_SELECTORS) result.push(common);
    }
  }
  return result;
}

/** Whether each selector of `answer` lies within one of `offered`. */
export function isSubset(answer: readonly TrafficSelector[], offered: readonly TrafficSelector[]): boolean {
  return answer.every((inner) =>
    offered.some((outer) => {
      const common = intersection(inner, outer);
      return common !== undefined && equalSelectors(common, inner);
    }),
  );
}

function intersection(a: TrafficSelector, b: TrafficSelector): TrafficSelector | undefined {
  if (a.family !== b.family) return undefined;
  const ports = commonPorts(a, b);
  if (ports === undefined || (a.protocol !== b.protocol && a.protocol !== 0 && b.protocol !== 0)) {
    return undefined;
  }
  const startAddress = compareBytes(a.startAddress, b.startAddress) >= 0 ? a.startAddress : b.startAddress;
  const endAddress = compareBytes(a.endAddress, b.endAddress) <= 0 ? a.endAddress : b.endAddress;
  if (compareBytes(startAddress, endAddress) > 0) return undefined;
  return { family: a.family, protocol: a.protocol || b.protocol, ...ports, startAddress, endAddress };
}

type Ports = Pick<TrafficSelector, 'startPort' | 'endPort'>;

function commonPorts(a: Ports, b: Ports): Ports | undefined {
  if (isOpaque(a) && (isOpaque(b) || isAnyPort(b))) return { startPort: a.startPort, endPort: a.endPort };
  if (isOpaque(b)) return isAnyPort(a) ? { startPort: b.startPort, endPort: b.endPort } : undefined;
  const startPort = Math.max(a.startPort, b.startPort);
  const endPort = Math.min(a.endPort, b.endPort);
  return startPort <= endPort ? { startPort, endPort } : undefined;
}

/** RFC 7296 3.13.1: ports that cannot be seen, such as those of fragments. ANY includes them (RFC 4301 4.4.1.1). */
function isOpaque({ startPort, endPort }: Ports): boolean {
  return startPort === 65535 && endPort === 0;
}

function isAnyPort({ startPort, endPort }: Ports): boolean {
  return startPort === 0 && endPort === 65535;
}
