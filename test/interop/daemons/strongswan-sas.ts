import type { DaemonSas } from './daemon.ts';
import type { ReceivedSection } from './vici.ts';

/** States of IKE SAs and Child SAs that are in use. */
const IN_USE = ['ESTABLISHED', 'REKEYING', 'INSTALLED', 'UPDATING'];

/** What events of `list-sas` say. */
export function strongswanSas(events: readonly ReceivedSection[]): DaemonSas {
  const listed = events.flatMap(sections).filter(inUse);
  const [ike] = listed;
  return {
    ike: ike && {
      spiI: String(ike['initiator-spi']).padStart(16, '0'),
      spiR: String(ike['responder-spi']).padStart(16, '0'),
      suite: suite(ike),
    },
    children: listed
      .flatMap((sa) => sections(sa['child-sas'] as ReceivedSection))
      .filter(inUse)
      .map((child) => ({
        spiIn: String(child['spi-in']).padStart(8, '0'),
        spiOut: String(child['spi-out']).padStart(8, '0'),
        suite: suite(child),
        bytesIn: Number(child['bytes-in']),
        bytesOut: Number(child['bytes-out']),
      })),
  };
}

/** As swanctl writes it, for instance "AES_CBC-128/HMAC_SHA2_256_128/ESN". */
function suite(sa: ReceivedSection): string {
  const cipher = [sa['encr-alg'], sa['encr-keysize']].filter(Boolean).join('-');
  const ke = ['1', '2', '3', '4', '5', '6', '7'].map(
    (number) => sa[`ke${number}-alg`] && `KE${number}_${sa[`ke${number}-alg`]}`,
  );
  const esn = sa.esn === '1' ? 'ESN' : undefined;
  return [cipher, sa['integ-alg'], sa['prf-alg'], sa['dh-group'], ...ke, esn].filter(Boolean).join('/');
}

function sections(section: ReceivedSection): ReceivedSection[] {
  return Object.values(section).filter(
    (value): value is ReceivedSection => typeof value === 'object' && !Array.isArray(value),
  );
}

function inUse(sa: ReceivedSection): boolean {
  return IN_USE.includes(String(sa.state));
}
