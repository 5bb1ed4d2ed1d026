import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Enter, XfrmChannel } from '../../../src/backend/xfrm/channel.ts';
import { ipChannel } from '../../../src/backend/xfrm/ip-channel.ts';
import type { XfrmPolicy, XfrmRequest, XfrmState } from '../../../src/backend/xfrm/model.ts';
import { netlinkChannel } from '../../../src/backend/xfrm/netlink-channel.ts';
import { type NetworkNamespace, openNamespace } from '../../../src/host/namespace.ts';
import { parsePrefix } from '../../../src/wire/address.ts';
import { native, within } from '../../support/namespaces.ts';

const ANY_PORT = { port: 0, mask: 0 };

const plain: XfrmPolicy = {
  direction: 'out',
  selector: {
    source: parsePrefix('10.0.0.0/24'),
    destination: parsePrefix('0.0.0.0/0'),
    protocol: 0,
    sourcePorts: ANY_PORT,
    destinationPorts: ANY_PORT,
  },
  action: 'allow',
  priority: 1000,
  template: { reqid: 7, spi: 0x1234, path: { source: '192.0.2.1', destination: '192.0.2.2' } },
};

/** Of every kind that the backend makes. */
const policies: readonly XfrmPolicy[] = [
  plain,
  { ...plain, mark: 0xa7000001 },
  { ...plain, interfaceId: 77 },
  { ...plain, direction: 'in', template: { reqid: 0xa7000002, spi: 0 } },
  { ...plain, direction: 'fwd', action: 'block', priority: 2000, template: { reqid: 9, spi: 0 } },
  { ...plain, direction: 'fwd', mark: 9, template: { reqid: 9, spi: 0, optional: true } },
  {
    ...plain,
    selector: {
      source: parsePrefix('fd00:1::/64'),
      destination: parsePrefix('fd00:2::7/128'),
      protocol: 17,
      sourcePorts: { port: 53, mask: 0xffff },
      destinationPorts: ANY_PORT,
    },
    template: { reqid: 9, spi: 1, path: { source: '2001:db8::1', destination: '2001:db8::2' } },
  },
];

const state: XfrmState = {
  source: '192.0.2.1',
  destination: '192.0.2.2',
  spi: 0x1234,
  reqid: 7,
  algorithms: { aead: 'rfc4106(gcm(aes))', key: new Uint8Array(20), icvLength: 128 },
  replay: { extended: false, sent: 0, received: 0, window: 1024 },
  limits: {},
};

const add = (policy: XfrmPolicy): XfrmRequest => ({ kind: 'add-policy', policy });
const remove = (id: XfrmPolicy): XfrmRequest => ({ kind: 'delete-policy', id });

describe.each<[string, (enter: Enter) => XfrmChannel]>([
  ['netlink', (enter) => enter(() => netlinkChannel(native()))],
  ['ip', ipChannel],
])('the way to the kernel by %s', (_name, open) => {
  let namespace: NetworkNamespace;
  let channel: XfrmChannel;
  const nameOf = ({ direction, mark, interfaceId, selector }: XfrmPolicy) =>
    [direction, mark, interfaceId, selector.source.length].join();
  const byText = (a: XfrmPolicy, b: XfrmPolicy) => nameOf(a).localeCompare(nameOf(b));
  const sorted = async () => [...(await channel.policies())].sort(byText);

  beforeAll(async () => {
    namespace = await openNamespace();
    channel = open((action) => within(namespace, action));
  });
  afterAll(async () => {
    await channel.close();
    await namespace.close();
  });

  it('adds, tells of, replaces and deletes policies', async () => {
    expect(await channel.apply(policies.map(add))).toBeUndefined();
    expect(await sorted()).toEqual([...policies].sort(byText));
    const replacing = policies.map((policy) => ({ ...policy, template: { ...policy.template, reqid: 99 } }));
    const updates = replacing.map((policy): XfrmRequest => ({ kind: 'update-policy', policy }));
    expect(await channel.apply(updates)).toBeUndefined();
    expect(await sorted()).toEqual([...replacing].sort(byText));
    expect(await channel.apply(policies.map(remove))).toBeUndefined();
    expect(await channel.policies()).toEqual([]);
  });

  it('says which request was refused, and carries none out after it', async () => {
    const [a, b, c] = policies;
    const failure = await channel.apply([add(a), remove(b), add(a), add(c)]);
    expect(failure).toMatchObject({ index: 2, code: 'EEXIST' });
    expect(failure?.error).toMatch(/^the kernel refuses to add a policy: EEXIST.*; there is one already/);
    expect(await channel.policies()).toEqual([a]);
    expect(await channel.apply([remove(b), remove(a), remove(a)])).toBeUndefined();
  });

  it('has nothing to say of SAs that are not there', async () => {
    expect(await channel.states()).toEqual([]);
    expect(await channel.state(state)).toBeUndefined();
    expect(await channel.apply([{ kind: 'delete-state', id: state }])).toBeUndefined();
  });

  it('does not take the policies of sockets and of other protocols for ours', async () => {
    await namespace.exec(
      'ip xfrm policy add dir out src 10.9.0.0/16 dst 0.0.0.0/0 tmpl proto ah reqid 1 mode tunnel'.split(' '),
    );
    await namespace.exec('ip xfrm policy add dir out src 10.8.0.0/16 dst 0.0.0.0/0 action block'.split(' '));
    expect(await channel.policies()).toEqual([]);
  });
});

describe('the way to the kernel by ip', () => {
  it('has no ranges of ports', async () => {
    const ranged = {
      ...plain,
      selector: { ...plain.selector, protocol: 17, sourcePorts: { port: 0, mask: 0xff00 } },
    };
    const failure = await ipChannel((action) => action()).apply([add(ranged)]);
    expect(failure).toMatchObject({ index: 0, code: 'EOPNOTSUPP' });
    expect(failure?.error).toContain('a range of ports cannot be told to ip');
  });
});
