import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';

/** noble's hashes by our names. */
export const NOBLE_HASHES = { sha1, sha256, sha384, sha512 } as const;
