import { describe, expect, it } from 'vitest';
import { knowledgeOf, type Observations, violationsOf } from '../../src/demo/knowledge.ts';
import { addressFact, observeLink, spiFact } from '../../src/demo/observation.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { concat, fromHex, hex, utf8 } from '../../src/wire/bytes.ts';
import { arpFrame, espFrame, ethernet, ikeMessage, ipFrame, ipPacket, tcpFrame, udpFrame } from './frames.ts';

const S = '198.51.100.66';
const A = '192.0.2.113';
const B = '192.0.2.157';
const C = '192.0.2.211';
const X = '198.51.100.231';
const D = '203.0.113.179';
const S_A = '10.171.90.91';
const S_B = '10.187.92.93';
const S_C = '10.205.94.95';
const PAGE = 'ghijklmnopqrstuvvutsrqponmlkjihg';
const KEY = fromHex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a');

const FACTS = [
  ...Object.entries({ S, A, B, C, X, D, S_A, S_B, S_C }).map(([label, address]) =>
    addressFact(label, address),
  ),
  { label: 'page', text: 'its content', patterns: [utf8(PAGE)], words: [] },
  spiFact('SPI 1', [0xc0ffee01, 0xc0ffee02]),
  spiFact('SPI 2', [0xdec0de01, 0xdec0de02]),
  { label: 'key of A', text: 'a key', patterns: [KEY], words: ['5f0d1c'] },
];

/** What a well-behaved telescope looks like on each link. */
function goodFrames() {
  return {
    'S-A': [
      arpFrame(S, A),
      udpFrame(S, A, [500, 500], ikeMessage([46, new Uint8Array(40)])),
      esp(S, A, 0xc0ffee01),
      esp(A, S, 0xc0ffee02),
    ],
    'A-B': [arpFrame(A, B), esp(A, B, 0xab000001), esp(B, A, 0xab000002)],
    'B-C': [arpFrame(B, C), esp(B, C, 0xbc000001), esp(C, B, 0xbc000002)],
    'C-D': [
      arpFrame(C, D),
      tcpFrame(X, D, fromHex('01020304'), utf8('GET /')),
      tcpFrame(D, X, fromHex('01020305'), utf8(PAGE)),
    ],
  };
}

const LINK_ENDS = { 'S-A': [S, A], 'A-B': [A, B], 'B-C': [B, C], 'C-D': [X, D] } as const;
type Link = keyof typeof LINK_ENDS;

function esp(source: string, destination: string, spi: number): Uint8Array {
  return espFrame(source, destination, spi, 1);
}

/** The good run, with more frames on one link. */
function observations(link: Link = 'S-A', ...more: readonly Uint8Array[]): Observations {
  const frames = goodFrames();
  frames[link].push(...more);
  return {
    facts: FACTS,
    links: {
      'S-A': observeLink(frames['S-A'], FACTS),
      'A-B': observeLink(frames['A-B'], FACTS),
      'B-C': observeLink(frames['B-C'], FACTS),
      'C-D': observeLink(frames['C-D'], FACTS),
    },
    nodes: {
      A: JSON.stringify({ address: S, assigned: { ip4: S_A }, spiIn: 0xc0ffee01 }),
      B: JSON.stringify({ address: S_A, overlayPeer: 'A', assigned: { ip4: S_B }, spiIn: 0xdec0de01 }),
      C: JSON.stringify({ address: S_B, assigned: { ip4: S_C } }),
      D: X,
    },
    pageOctets: 100,
  };
}

function violations(link: Link, ...more: readonly Uint8Array[]): string[] {
  return violationsOf(observations(link, ...more));
}

describe('a run in which everything is as it should be', () => {
  it('has no violations', () => {
    expect(violationsOf(observations())).toEqual([]);
  });

  it('gives the table of who knows what', () => {
    const knowledge = knowledgeOf(observations());
    const known = Object.fromEntries(
      Object.entries(knowledge).map(([name, labels]) => [name, [...labels].sort()]),
    );
    expect(known).toEqual({
      'S-A': ['A', 'S', 'SPI 1'],
      A: ['A', 'B', 'S', 'SPI 1', 'S_A'],
      'A-B': ['A', 'B'],
      B: ['A', 'B', 'C', 'SPI 2', 'S_A', 'S_B'],
      'B-C': ['B', 'C'],
      C: ['B', 'C', 'D', 'S_B', 'S_C', 'X', 'page'],
      'C-D': ['C', 'D', 'X', 'page'],
      D: ['C', 'D', 'X', 'page'],
    });
  });

  it('shows what is on each link', () => {
    const { links } = observations();
    expect(links['S-A']).toMatchObject({
      addresses: [A, S],
      spis: ['c0ffee01', 'c0ffee02'],
      services: [500],
      identities: [],
      frames: 4,
    });
    expect(links['A-B'].spis).toEqual(['ab000001', 'ab000002']);
    expect(links['C-D']).toMatchObject({ addresses: [C, X, D], services: [80], spis: [] });
  });
});

describe('a violation is seen when', () => {
  const places: readonly [string, string, Link][] = [
    ['S', S, 'A-B'],
    ['S', S, 'B-C'],
    ['S', S, 'C-D'],
    ['D', D, 'S-A'],
    ['D', D, 'A-B'],
    ['D', D, 'B-C'],
    ['S_A', S_A, 'S-A'],
    ['S_A', S_A, 'A-B'],
    ['S_B', S_B, 'B-C'],
    ['S_C', S_C, 'C-D'],
    ['S_C', S_C, 'B-C'],
    ['B', B, 'S-A'],
    ['C', C, 'A-B'],
    ['A', A, 'B-C'],
  ];

  it.each(places)('%s (%s) is in a header on %s', (label, address, link) => {
    const [, end] = LINK_ENDS[link];
    const expected = expect.stringMatching(
      new RegExp(`^${label} \\(.*\\) appears in clear on ${link}: frame \\d+, octet 26$`),
    );
    expect(violations(link, ipFrame(address, end, 6, new Uint8Array(40)))).toContainEqual(expected);
  });

  it.each(places)(
    '%s (%s) is anywhere in the payload of something in clear on %s',
    (label, address, link) => {
      const [from, to] = LINK_ENDS[link];
      const leaks = [
        udpFrame(from, to, [53, 53], utf8('x'.repeat(13)), addressBytes(address)),
        udpFrame(from, to, [500, 500], ikeMessage([41, concat(fromHex('00004019'), addressBytes(address))])),
        ipFrame(
          from,
          to,
          1,
          fromHex('0301000000000000'),
          ipPacket(address, '9.9.9.9', 17, new Uint8Array(8)),
        ),
        arpFrame(from, address),
        ethernet(0x88cc, utf8('name'), addressBytes(address)),
      ];
      for (const leak of leaks) {
        expect(violations(link, leak)).toContainEqual(
          expect.stringContaining(`${label} (${address}) appears in clear on ${link}`),
        );
      }
    },
  );

  it.each(places)('%s (%s) is in a packet that was not encrypted, in ESP on %s', (label, address, link) => {
    const [from, to] = LINK_ENDS[link];
    const leak = espFrame(from, to, 0x99000001, 3, ipPacket(address, '9.9.9.9', 6, new Uint8Array(20)));
    expect(violations(link, leak)).toContainEqual(
      expect.stringContaining(`${label} (${address}) appears in clear on ${link}`),
    );
  });

  it('a field of ESP or of IKE always holds an address', () => {
    const leaks = [1, 2].map((sequence) => espFrame(A, B, 0xab000001, sequence, addressBytes(S)));
    expect(violations('A-B', ...leaks)).toEqual([`S (${S}) appears in clear on A-B: frame 5, octet 82`]);
    const nonces = [1, 2].map((fill) =>
      udpFrame(
        A,
        B,
        [500, 500],
        ikeMessage([40, concat(new Uint8Array(12).fill(fill), addressBytes(S), new Uint8Array(8))]),
      ),
    );
    expect(violations('A-B', ...nonces)).toContainEqual(expect.stringContaining(`S (${S}) appears in clear`));
  });

  it('an address is in ciphertext as text, or as hex', () => {
    for (const text of [S, hex(addressBytes(S)), hex(addressBytes(S)).toUpperCase()]) {
      expect(violations('A-B', espFrame(A, B, 0xab000001, 3, utf8(text)))).toEqual([
        `S (${S}) appears in clear on A-B: frame 4, octet 82`,
      ]);
    }
  });

  it('the page is in clear before C', () => {
    for (const link of ['S-A', 'A-B', 'B-C'] as const) {
      const [from, to] = LINK_ENDS[link];
      expect(violations(link, espFrame(from, to, 0x99000001, 3, utf8(PAGE)))).toEqual([
        expect.stringContaining(`page (its content) appears in clear on ${link}`),
      ]);
    }
  });

  it('an SPI of a hop is on another link, as an SPI or in a message', () => {
    expect(violations('A-B', esp(A, B, 0xc0ffee01))).toEqual([
      'SPI 1 (c0ffee01 c0ffee02) appears in clear on A-B: frame 4, octet 34',
      'SPI c0ffee01 appears on S-A and on A-B',
    ]);
    expect(violations('S-A', esp(S, A, 0xdec0de02))[0]).toContain(
      'SPI 2 (dec0de01 dec0de02) appears in clear on S-A',
    );
    expect(violations('B-C', esp(B, C, 0xab000001))).toEqual(['SPI ab000001 appears on A-B and on B-C']);
  });

  it('an identity or a key is in clear', () => {
    const identity = udpFrame(S, A, [500, 500], ikeMessage([35, concat(fromHex('02000000'), utf8('alice'))]));
    expect(violations('S-A', identity)).toEqual(['the IKE identity 2:616c696365 appears in clear on S-A']);
    const certificate = udpFrame(S, A, [500, 500], ikeMessage([37, concat(Uint8Array.of(15), KEY)]));
    expect(violations('S-A', certificate)).toEqual([
      expect.stringContaining('key of A (a key) appears in clear on S-A'),
    ]);
  });

  it('an address that nobody has is in a header', () => {
    expect(violations('B-C', ipFrame('10.0.0.1', C, 17, new Uint8Array(8)))).toEqual([
      "10.0.0.1, which is nobody's, appears in a header on B-C",
    ]);
  });

  it('a relay or D knows too much by itself', () => {
    const good = observations();
    const told = (nodes: Observations['nodes']) =>
      violationsOf({ ...good, nodes: { ...good.nodes, ...nodes } });
    expect(told({ B: JSON.stringify({ address: S, note: `${S_A}:500` }) })).toEqual(['S is known to B']);
    expect(told({ C: `{"address":"${S_A}"}` })).toEqual(['S_A is known to C']);
    expect(told({ A: `["${D}"]` })).toEqual(['D is known to A']);
    expect(told({ D: `${S_C} ${X}` })).toEqual(['S_C is known to D']);
    expect(told({ C: `{"spiIn":${0xdec0de02}}` })).toEqual(['SPI 2 is known to C']);
  });

  it('a capture is not whole, so that what was not seen proves nothing', () => {
    const good = observations();
    const without = (link: Link, frames: readonly Uint8Array[]) =>
      violationsOf({ ...good, links: { ...good.links, [link]: observeLink(frames, FACTS) } });
    expect(without('A-B', [])).toEqual([
      'the capture of A-B is not whole: A was not seen on it',
      'the capture of A-B is not whole: B was not seen on it',
      'the capture of A-B is not whole: 0 octets, and the page has 100',
    ]);
    expect(without('S-A', [udpFrame(S, A, [500, 500], new Uint8Array(100))])).toEqual([
      'the capture of S-A is not whole: SPI 1 was not seen on it',
    ]);
  });
});

describe('chance is no violation:', () => {
  it('four octets of ciphertext that are an address, once', () => {
    expect(violations('A-B', espFrame(A, B, 0xab000001, 3, addressBytes(S)))).toEqual([]);
    expect(
      violations(
        'A-B',
        espFrame(A, B, 0xab000001, 3, addressBytes(S), 40),
        espFrame(A, B, 0xab000001, 4, addressBytes(S), 41),
      ),
    ).toEqual([]);
  });

  it('the same message again', () => {
    const message = espFrame(A, B, 0xab000001, 3, addressBytes(S));
    expect(violations('A-B', message, message.slice())).toEqual([]);
  });

  it('a TCP counter that is an address', () => {
    expect(
      violations(
        'C-D',
        tcpFrame(X, D, addressBytes(S), utf8('x')),
        tcpFrame(X, D, addressBytes(S), utf8('y')),
      ),
    ).toEqual([]);
  });

  it('a longer address of which a fact is the beginning', () => {
    const good = observations();
    expect(violationsOf({ ...good, nodes: { ...good.nodes, C: '{"address":"198.51.100.660"}' } })).toEqual(
      [],
    );
  });
});
