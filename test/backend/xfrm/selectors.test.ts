import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { xfrmSelectors } from '../../../src/backend/xfrm/selectors.ts';
import { parsePrefix, prefixContains, prefixText } from '../../../src/wire/address.ts';
import { anySelector, prefixSelector, type TrafficSelector } from '../../../src/wire/traffic-selector.ts';

const of = (prefix: string): TrafficSelector => prefixSelector(parsePrefix(prefix));

const bytesOf = (address: number) =>
  Uint8Array.of(address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255);

const range = (first: number, last: number): TrafficSelector => ({
  ...anySelector(4),
  startAddress: bytesOf(first),
  endAddress: bytesOf(last),
});

describe('selectors of the kernel', () => {
  it('are one for two prefixes, whatever their family', () => {
    for (const [source, destination] of [
      ['10.1.0.0/24', '0.0.0.0/0'],
      ['::/0', 'fd00:1::7/128'],
    ]) {
      const [selector, ...more] = xfrmSelectors([of(source)], [of(destination)]);
      expect(more).toEqual([]);
      expect([prefixText(selector.source), prefixText(selector.destination)]).toEqual([source, destination]);
      expect(selector).toMatchObject({
        protocol: 0,
        sourcePorts: { mask: 0 },
        destinationPorts: { mask: 0 },
      });
    }
  });

  it('cover every address of a range once, and no other', () => {
    const address = fc.integer({ min: 0, max: 0xffff_ffff });
    fc.assert(
      fc.property(address, address, address, (a, b, c) => {
        const [first, last] = [Math.min(a, b), Math.max(a, b)];
        const found = xfrmSelectors([range(first, last)], [of('10.0.0.0/8')]);
        expect(found.length).toBeLessThanOrEqual(62);
        for (const tried of [first, last, first - 1, last + 1, c]) {
          if (tried < 0 || tried > 0xffff_ffff) continue;
          const covering = found.filter(({ source }) => prefixContains(source, bytesOf(tried)));
          expect(covering.length).toBe(first <= tried && tried <= last ? 1 : 0);
        }
      }),
    );
  });

  it('cover every port of a range once, for protocols that have ports', () => {
    const port = fc.integer({ min: 0, max: 65535 });
    fc.assert(
      fc.property(port, port, port, (a, b, tried) => {
        const [startPort, endPort] = [Math.min(a, b), Math.max(a, b)];
        const ported = { ...of('10.1.0.0/24'), protocol: 17, startPort, endPort };
        const covering = xfrmSelectors([of('10.0.0.0/8')], [ported]).filter(
          ({ destinationPorts: { port: value, mask } }) => (tried & mask) === value,
        );
        expect(covering.length).toBe(startPort <= tried && tried <= endPort ? 1 : 0);
        expect(covering.every(({ protocol }) => protocol === 17)).toBe(true);
      }),
    );
  });

  it('are none where families or protocols differ, or where a protocol has no ports', () => {
    const [source, destination] = [of('10.1.0.0/24'), of('0.0.0.0/0')];
    for (const pair of [
      [source, of('::/0')],
      [
        { ...source, protocol: 6 },
        { ...destination, protocol: 17 },
      ],
      [source, { ...destination, protocol: 1, startPort: 2048, endPort: 2048 }],
    ])
      expect(() => xfrmSelectors([pair[0]], [pair[1]])).toThrow('traffic selectors that no packet fits');
    expect(xfrmSelectors([source, of('fd00::/8')], [destination, of('::/0')])).toHaveLength(2);
  });
});
