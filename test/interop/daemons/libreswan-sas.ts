import type { DaemonSas } from './daemon.ts';

/** What `whack --status --trafficstatus` says of states: the newest IKE SA, and the Child SAs, the newest first. */
export interface States {
  /** The number and the transforms of the IKE SA. */
  readonly ike: { readonly number: number; readonly suite: string } | undefined;
  readonly children: readonly (DaemonSas['children'][number] & { readonly number: number })[];
}

export function libreswanStates(status: string): States {
  const ike = numbers(status, 'IKE').at(0);
  const [, ikeSuite = ''] = /IKEv2 algorithm newest: (.*)/.exec(status) ?? [];
  const [, suite = ''] = /ESP algorithm newest: ([^;\n]*)/.exec(status) ?? [];
  return {
    ike: ike === undefined ? undefined : { number: ike, suite: ikeSuite },
    children: numbers(status, 'CHILD').map((number) => {
      const spis = new RegExp(`#${number}: .* esp\\.([0-9a-f]+)@\\S+ esp\\.([0-9a-f]+)@`).exec(status);
      const traffic = new RegExp(`#${number}: .* ESPin=(\\d+[KMG]?)B ESPout=(\\d+[KMG]?)B`).exec(status);
      const [, spiOut = '', spiIn = ''] = (spis ?? []).map((spi) => spi.padStart(8, '0'));
      const [bytesIn = 0, bytesOut = 0] = (traffic ?? []).slice(1).map(octets);
      return { number, spiIn, spiOut, suite, bytesIn, bytesOut };
    }),
  };
}

/** "64K": rounded down. */
function octets(text: string): number {
  return Number.parseInt(text, 10) * 1024 ** ' KMG'.indexOf(text.at(-1)!.replace(/\d/, ' '));
}

function numbers(status: string, kind: 'IKE' | 'CHILD'): number[] {
  const states = new RegExp(`#(\\d+): .*ESTABLISHED_${kind}_SA `, 'g');
  return Array.from(status.matchAll(states), ([, number]) => Number(number)).sort((a, b) => b - a);
}

/** The SPIs in the header of the last message of an IKE SA that is in the log and has both, 16 hex digits each. */
export function spisOf(number: number, log: string): { spiI: string; spiR: string } | undefined {
  const mark = ` (for #${number})`;
  for (let sent = log.lastIndexOf(mark); sent > 0; sent = log.lastIndexOf(mark, sent - 1)) {
    const header = log.lastIndexOf('|    initiator SPI: ', sent);
    if (header < 0) return undefined;
    const spis = Array.from(log.slice(header, sent).matchAll(/(?:initiator|responder) SPI:([ 0-9a-f]+)/g));
    const [spiI, spiR = ''] = spis.map(([, octets]) => octets.replaceAll(' ', ''));
    // That of a request of IKE_SA_INIT is zero.
    if (/[1-9a-f]/.test(spiR)) return { spiI, spiR };
  }
  return undefined;
}
