import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { DescriptorError } from '../../src/descriptor/document.ts';
import { parsePath } from '../../src/descriptor/path.ts';
import { crypto, signed, statement } from './relays.ts';

const FILES: Readonly<Record<string, string>> = {
  'a.yaml': signed(1, statement('alpha', '192.0.2.1', '10.1.0.0/24')),
  'b.yaml': signed(2, statement('beta', '192.0.2.2', '10.2.0.0/24')),
  'c.yaml': signed(3, statement('gamma', '192.0.2.3', '10.3.0.0/24')),
  'broken.yaml': 'version: 1\n',
};

function read(text: string) {
  const readFile = (name: string) => {
    const content = FILES[name];
    if (content === undefined) throw new Error('ENOENT: no such file');
    return content;
  };
  return parsePath(text, 'path.yaml', readFile, crypto);
}

function refusal(text: string): string {
  try {
    read(text);
  } catch (error) {
    expect(error).toBeInstanceOf(DescriptorError);
    return (error as Error).message;
  }
  throw new Error('accepted');
}

describe('a path', () => {
  it('has its hops in order, from files and in place', () => {
    const inline = parse(FILES['b.yaml']) as object;
    const text = stringify({ relays: [{ descriptor: 'c.yaml' }, inline, { descriptor: 'a.yaml' }] });
    expect(read(text).map(({ name }) => name)).toEqual(['gamma', 'beta', 'alpha']);
    expect(read(JSON.stringify(parse(text))).length).toBe(3);
  });

  it.each([
    ['an empty path', 'relays: []', 'path.yaml: relays: a path has at least one relay'],
    ['no list', 'hops: []', 'path.yaml: relays: '],
    ['another field', 'relays: [{descriptor: a.yaml}]\nexit: a', 'path.yaml: Unrecognized key: "exit"'],
    [
      'another field beside a file',
      'relays: [{descriptor: a.yaml, name: x}]',
      'path.yaml: relays.0: Unrecognized key: "name"',
    ],
    [
      'a file that is not there',
      'relays: [{descriptor: a.yaml}, {descriptor: x.yaml}]',
      "path.yaml: relays.1: cannot read 'x.yaml': ENOENT",
    ],
    ['a bad descriptor file', 'relays: [{descriptor: broken.yaml}]', 'broken.yaml: name: '],
    ['a bad descriptor in place', 'relays: [{version: 1}]', 'path.yaml: relays.0: name: '],
    [
      'a relay twice',
      'relays: [{descriptor: a.yaml}, {descriptor: b.yaml}, {descriptor: a.yaml}]',
      "path.yaml: relays.2: relay 'alpha' is already hop 1",
    ],
    ['malformed YAML', 'relays:\n  - {descriptor: a.yaml\n', 'path.yaml: line '],
  ])('refuses %s', (_name, text, message) => {
    expect(refusal(text)).toContain(message);
  });

  it('refuses a descriptor in place that was altered', () => {
    const inline = { ...(parse(FILES['b.yaml']) as object), exit: true };
    expect(refusal(stringify({ relays: [inline] }))).toContain(
      'path.yaml: relays.0: signature: not by publicKey',
    );
  });
});
