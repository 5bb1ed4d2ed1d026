import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DescriptorError } from '../../src/descriptor/document.ts';
import { RelayDirectory } from '../../src/descriptor/relay-directory.ts';
import { crypto, signed, statement } from './relays.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ike-telescope-relays-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function put(file: string, number: number): void {
  const text = signed(number, statement(`relay-${number}`, `192.0.2.${number}`, `10.${number}.0.0/16`));
  writeFileSync(join(directory, file), text);
}

describe('RelayDirectory', () => {
  it('has the descriptors of its files, and after a reload those that it has then', () => {
    put('a.yaml', 1);
    put('notes.txt', 2);
    const relays = new RelayDirectory(directory, crypto);
    expect(relays.relays().map(({ name }) => name)).toEqual(['relay-1']);
    put('b.json', 3);
    relays.reload();
    const [, added] = relays.relays();
    expect(added.name).toBe('relay-3');
    expect(relays.find(added.keyId)).toBe(added);
  });

  it('is what it was if a file is wrong when it is read again', () => {
    put('a.yaml', 1);
    const relays = new RelayDirectory(directory, crypto);
    writeFileSync(join(directory, 'b.yaml'), 'version: 1\n');
    expect(() => relays.reload()).toThrow(/b\.yaml.*is missing/s);
    expect(relays.relays()).toHaveLength(1);
  });

  it.each([
    ['no files', () => {}, /has no descriptors; put the files/],
    ['one key twice', () => [put('a.yaml', 1), put('b.yaml', 1)], /have the same key; list it once/],
    ['no directory', () => rmSync(directory, { recursive: true }), /cannot be read: ENOENT/],
  ])('refuses %s', (what, prepare, message) => {
    prepare();
    const open = () => new RelayDirectory(directory, crypto);
    expect(open).toThrow(DescriptorError);
    expect(open).toThrow(message);
    if (what === 'no directory') directory = mkdtempSync(join(tmpdir(), 'ike-telescope-relays-'));
  });
});
