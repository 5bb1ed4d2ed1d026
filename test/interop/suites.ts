import type { Proposal } from '../../src/ike/config.ts';
import type { Transform } from '../../src/ike/payload/payload.ts';
import { transforms } from '../support/transforms-text.ts';

/** strongSwan's keywords and the transforms that they stand for. */
const KEYWORDS: Readonly<Record<string, string>> = {
  null: 'ENCR 11',
  aes128: 'ENCR 12/128',
  aes192: 'ENCR 12/192',
  aes256: 'ENCR 12/256',
  aes128ccm8: 'ENCR 14/128',
  aes128ccm12: 'ENCR 15/128',
  aes128ccm16: 'ENCR 16/128',
  aes192ccm8: 'ENCR 14/192',
  aes192ccm12: 'ENCR 15/192',
  aes192ccm16: 'ENCR 16/192',
  aes256ccm8: 'ENCR 14/256',
  aes256ccm12: 'ENCR 15/256',
  aes256ccm16: 'ENCR 16/256',
  aes128gcm8: 'ENCR 18/128',
  aes128gcm12: 'ENCR 19/128',
  aes192gcm8: 'ENCR 18/192',
  aes192gcm12: 'ENCR 19/192',
  aes256gcm8: 'ENCR 18/256',
  aes256gcm12: 'ENCR 19/256',
  aes128gcm16: 'ENCR 20/128',
  aes192gcm16: 'ENCR 20/192',
  aes256gcm16: 'ENCR 20/256',
  chacha20poly1305: 'ENCR 28',
  prfsha1: 'PRF 2',
  prfaesxcbc: 'PRF 4',
  prfsha256: 'PRF 5',
  prfsha384: 'PRF 6',
  prfsha512: 'PRF 7',
  prfaescmac: 'PRF 8',
  sha1: 'INTEG 2',
  sha256: 'INTEG 12',
  sha384: 'INTEG 13',
  sha512: 'INTEG 14',
  modp2048: 'KE 14',
  modp3072: 'KE 15',
  modp4096: 'KE 16',
  ecp256: 'KE 19',
  ecp384: 'KE 20',
  ecp521: 'KE 21',
  x25519: 'KE 31',
  mlkem512: 'KE 35',
  mlkem768: 'KE 36',
  mlkem1024: 'KE 37',
  esn: 'ESN 1',
};

/** The proposal that such keywords stand for; of ESP, sequence numbers are short unless they say otherwise. */
export function proposal(keywords: string, protocol: 'ike' | 'esp'): Proposal {
  const found = keywords.split('-').flatMap(transformsOf);
  const saysEsn = found.some(({ type }) => type === 5);
  return { transforms: protocol === 'esp' && !saysEsn ? [...found, ...transforms('ESN 0')] : found };
}

function transformsOf(keyword: string): Transform[] {
  const additional = /^ke([1-7])_(.+)$/.exec(keyword);
  const text = KEYWORDS[additional?.[2] ?? keyword];
  if (text === undefined) throw new Error(`no transform is called ${keyword}`);
  const found = transforms(text);
  return additional === null ? found : found.map((each) => ({ ...each, type: 5 + Number(additional[1]) }));
}
