import type { Suites } from './daemon.ts';

/** strongSwan's keywords and what libreswan calls the same; the others are the same, or libreswan has no name for them. */
const ENCRYPTION: Readonly<Record<string, string>> = {
  null: 'null',
  chacha20poly1305: 'chacha20_poly1305',
};
const AEAD_TAGS: Readonly<Record<string, string>> = { 8: 'a', 12: 'b', 16: 'c' };
const HASHES: Readonly<Record<string, string>> = {
  sha1: 'sha1',
  sha256: 'sha2_256',
  sha384: 'sha2_384',
  sha512: 'sha2_512',
  aesxcbc: 'aes_xcbc',
  aescmac: 'aes_cmac',
};
const GROUPS: Readonly<Record<string, string>> = {
  modp2048: 'dh14',
  modp3072: 'dh15',
  modp4096: 'dh16',
  ecp256: 'dh19',
  ecp384: 'dh20',
  ecp521: 'dh21',
  x25519: 'dh31',
};

/** The options of ipsec.conf that a connection's suites are. */
export interface Algorithms {
  readonly ike: string;
  readonly esp: string;
  readonly esn: string;
  readonly pfs: string;
}

export function algorithms({ ike, esp }: Suites): Algorithms {
  const proposals = esp.split(',');
  const parts = proposals.map(sort);
  const withGroup = parts.some(({ groups }) => groups.length > 0);
  return {
    ike: ike.split(',').map(ikeText).join(','),
    esp: proposals.map(espText).join(','),
    esn: parts.some(({ rest }) => rest.includes('esn')) ? 'yes' : 'no',
    pfs: withGroup ? 'yes' : 'no',
  };
}

interface Sorted {
  readonly encryption: readonly string[];
  readonly integrity: readonly string[];
  readonly prfs: readonly string[];
  readonly groups: readonly string[];
  readonly rest: readonly string[];
}

function sort(proposal: string): Sorted {
  const sorted = {
    encryption: [] as string[],
    integrity: [] as string[],
    prfs: [] as string[],
    groups: [] as string[],
    rest: [] as string[],
  };
  for (const keyword of proposal.split('-')) {
    if (encryption(keyword) !== undefined) sorted.encryption.push(encryption(keyword)!);
    else if (HASHES[keyword] !== undefined) sorted.integrity.push(HASHES[keyword]);
    else if (keyword.startsWith('prf')) sorted.prfs.push(HASHES[keyword.slice(3)] ?? keyword);
    else if (GROUPS[keyword] !== undefined) sorted.groups.push(GROUPS[keyword]);
    else sorted.rest.push(keyword);
  }
  return sorted;
}

function encryption(keyword: string): string | undefined {
  const combined = /^aes(\d+)(gcm|ccm)(\d+)$/.exec(keyword);
  if (combined !== null) return `aes_${combined[2]}_${AEAD_TAGS[combined[3]]}_${combined[1]}`;
  const block = /^aes(\d+)$/.exec(keyword);
  if (block !== null) return `aes_cbc_${block[1]}`;
  return ENCRYPTION[keyword];
}

/** It takes the PRF from the integrity algorithm, and only with AEAD can it be said; more than that it will not understand. */
function ikeText(proposal: string): string {
  const { encryption, integrity, prfs, groups, rest } = sort(proposal);
  const hashes = integrity.length === 0 || integrity.join() === prfs.join() ? [prfs] : [integrity, prfs];
  return [encryption, ...hashes, [...groups, ...rest]].map((each) => each.join('+')).join('-');
}

function espText(proposal: string): string {
  const { encryption, integrity, groups, rest } = sort(proposal);
  const others = rest.filter((keyword) => keyword !== 'esn');
  const exchange = [...groups, ...others];
  const text = `${encryption.join('+')}-${integrity.join('+') || 'none'}`;
  return exchange.length > 0 ? `${text}-${exchange.join('+')}` : text;
}
