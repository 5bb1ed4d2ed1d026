import { type Address, familyOf, parsePrefix, prefixText } from '../../wire/address.ts';
import { hex } from '../../wire/bytes.ts';
import type {
  InstalledState,
  PortMask,
  XfrmAlgorithms,
  XfrmDirection,
  XfrmEvent,
  XfrmPolicy,
  XfrmPolicyId,
  XfrmReplay,
  XfrmRequest,
  XfrmScope,
  XfrmState,
  XfrmStateId,
} from './model.ts';

/** What the program `ip` (iproute2) is told of SAs and policies, and what it prints of them (ip-xfrm(8)). */

const ANY_PORT: PortMask = { port: 0, mask: 0 };

/** The arguments of `ip` for a request, as a line of its batch mode. @throws RangeError for ports that it cannot be told */
export function requestLine(request: XfrmRequest): string {
  switch (request.kind) {
    case 'add-state':
      return words('xfrm state add', stateText(request.state));
    case 'delete-state':
      return words('xfrm state delete', stateIdText(request.id));
    case 'add-policy':
      return words('xfrm policy add', policyText(request.policy));
    case 'update-policy':
      return words('xfrm policy update', policyText(request.policy));
    case 'delete-policy':
      return words('xfrm policy delete', policyIdText(request.id), interfaceText(request.id));
  }
}

/** The arguments of `ip` that ask for one state. */
export function stateQuery(id: XfrmStateId): readonly string[] {
  return words('-s xfrm state get', stateIdText(id)).split(' ');
}

function words(...parts: readonly (string | false | undefined)[]): string {
  return parts.filter(Boolean).join(' ');
}

function stateIdText(id: XfrmStateId): string {
  return words(`dst ${id.destination} proto esp spi ${id.spi}`, markText(id));
}

function stateText(state: XfrmState): string {
  const { source, destination, spi, reqid, encapsulation: ports, limits, lifetime } = state;
  const any = familyOf(destination) === 4 ? '0.0.0.0' : '::';
  return words(
    `src ${source} dst ${destination} proto esp spi ${spi} reqid ${reqid} mode tunnel flag noecn flag af-unspec`,
    state.replay.extended && 'flag esn',
    'extra-flag dont-encap-dscp',
    replayText(state.replay),
    algorithmText(state.algorithms),
    ports && `encap espinudp ${ports.sourcePort} ${ports.destinationPort} ${any}`,
    limits.softOctets !== undefined && `limit byte-soft ${limits.softOctets}`,
    limits.hardOctets !== undefined && `limit byte-hard ${limits.hardOctets}`,
    limits.softPackets !== undefined && `limit packet-soft ${limits.softPackets}`,
    limits.hardPackets !== undefined && `limit packet-hard ${limits.hardPackets}`,
    lifetime !== undefined && `limit time-hard ${lifetime}`,
    markText(state),
    interfaceText(state),
  );
}

function algorithmText(algorithms: XfrmAlgorithms): string {
  const { key, icvLength } = algorithms;
  if ('aead' in algorithms) return `aead ${algorithms.aead} 0x${hex(key)} ${icvLength}`;
  const { cipher, authentication, authenticationKey } = algorithms;
  const cipherKey = key.length === 0 ? '""' : `0x${hex(key)}`;
  return `enc ${cipher} ${cipherKey} auth-trunc ${authentication} 0x${hex(authenticationKey)} ${icvLength}`;
}

/** It cannot be told which packets below the highest were received: they all count as such, and the window begins above it. */
function replayText({ extended, sent, received, window, bitmap }: XfrmReplay): string {
  const isFresh = received === 0 || bitmap === undefined;
  const highest = isFresh ? received : Math.min(received + window, (extended ? 2 ** 53 : 2 ** 32) - 1);
  const [low, high] = [(n: number) => n % 2 ** 32, (n: number) => Math.floor(n / 2 ** 32)];
  return words(
    `replay-window ${window}`,
    sent > 0 && `replay-oseq ${low(sent)} replay-oseq-hi ${high(sent)}`,
    highest > 0 && `replay-seq ${low(highest)} replay-seq-hi ${high(highest)}`,
  );
}

function policyIdText({ direction, selector, ...scope }: XfrmPolicyId): string {
  const { source, destination, protocol, sourcePorts, destinationPorts } = selector;
  return words(
    `src ${prefixText(source)} dst ${prefixText(destination)}`,
    protocol !== 0 && `proto ${protocol}`,
    portText('sport', sourcePorts),
    portText('dport', destinationPorts),
    `dir ${direction}`,
    markText(scope),
  );
}

function policyText(policy: XfrmPolicy): string {
  const { path, spi, reqid, optional } = policy.template;
  return words(
    policyIdText(policy),
    `action ${policy.action} priority ${policy.priority}`,
    interfaceText(policy),
    'tmpl',
    path && `src ${path.source} dst ${path.destination}`,
    'proto esp',
    spi !== 0 && `spi ${spi}`,
    `reqid ${reqid} mode tunnel`,
    optional && 'level use',
  );
}

function portText(name: string, { port, mask }: PortMask): string | undefined {
  if (mask === 0) return undefined;
  if (mask !== 0xffff)
    throw new RangeError('a range of ports cannot be told to ip: install koffi (npm install koffi)');
  return `${name} ${port}`;
}

function markText({ mark }: XfrmScope): string | undefined {
  return mark === undefined ? undefined : `mark ${mark} mask 0xffffffff`;
}

function interfaceText({ interfaceId }: XfrmScope): string | undefined {
  return interfaceId === undefined ? undefined : `if_id ${interfaceId}`;
}

/** The ESP SAs in tunnel mode in what `ip -s xfrm state` prints. */
export function parseStates(text: string): readonly InstalledState[] {
  return blocksOf(text).flatMap((block) => parseState(block) ?? []);
}

function parseState(text: string): InstalledState | undefined {
  const ends = /^src (\S+) dst (\S+)/.exec(text);
  const id = /\tproto esp spi 0x([0-9a-f]+)\(.*?\) reqid (\d+)\(.*?\) mode tunnel/.exec(text);
  const isAwaited = !/\n\t(aead|enc) /.test(text); // of one that is not there, but was to be used
  if (ends === null || id === null || isAwaited) return undefined;
  const ports = /encap type espinudp sport (\d+) dport (\d+)/.exec(text);
  const use = /lifetime current:\s+(\d+)\(bytes\), (\d+)\(packets\)/.exec(text);
  const lifetime = Number(/expire add: soft \d+\(sec\), hard (\d+)\(sec\)/.exec(text)?.[1] ?? 0);
  const refused = /stats:\s+replay-window (\d+) replay (\d+) failed (\d+)/.exec(text);
  return {
    source: ends[1],
    destination: ends[2],
    spi: Number.parseInt(id[1], 16),
    reqid: Number(id[2]),
    replay: parseReplay(text),
    limits: {
      ...limit(text, 'softOctets', /limit: soft (\d+)\(bytes\)/),
      ...limit(text, 'hardOctets', /hard (\d+)\(bytes\)/),
      ...limit(text, 'softPackets', /limit: soft (\d+)\(packets\)/),
      ...limit(text, 'hardPackets', /hard (\d+)\(packets\)/),
    },
    ...(lifetime > 0 && { lifetime }),
    ...(ports && { encapsulation: { sourcePort: Number(ports[1]), destinationPort: Number(ports[2]) } }),
    octets: Number(use?.[1] ?? 0),
    packets: Number(use?.[2] ?? 0),
    replayed: Number(refused?.[1] ?? 0) + Number(refused?.[2] ?? 0),
    badIcv: Number(refused?.[3] ?? 0),
    ...parseScope(text),
  };
}

function limit(text: string, name: string, pattern: RegExp): Readonly<Record<string, number>> {
  const found = pattern.exec(text);
  return found === null ? {} : { [name]: Number(found[1]) };
}

function parseReplay(text: string): XfrmReplay {
  const numbers = /seq-hi 0x([0-9a-f]+), seq 0x([0-9a-f]+), oseq-hi 0x([0-9a-f]+), oseq 0x([0-9a-f]+)/.exec(
    text,
  );
  const window = /replay_window (\d+), bitmap-length \d+\n((?:\t[0-9a-f ]*\n?)*)/.exec(text);
  const number = (high: number) =>
    Number.parseInt(numbers?.[high] ?? '0', 16) * 2 ** 32 + Number.parseInt(numbers?.[high + 1] ?? '0', 16);
  return {
    extended: /\tflag [^\n]*\besn/.test(text) || /\treplay-window [^\n]*\besn/.test(text),
    sent: number(3),
    received: number(1),
    window: Number(window?.[1] ?? 0),
    bitmap: (window?.[2] ?? '')
      .split(/\s+/)
      .flatMap((word) => (word === '' ? [] : [Number.parseInt(word, 16)])),
  };
}

/**
 * The event in what `ip xfrm monitor` prints, from one line at the margin to the next; undefined if it is about something else. Of
 * SAs that have expired it is said only that there are some.
 */
export function parseEvent(text: string): XfrmEvent | undefined {
  if (text.startsWith('Expired ')) return { kind: 'lost' };
  const moved =
    /^Mapping change \S+ -> (\S+):(\d+)\s+dst (\S+)\s+reqid 0x([0-9a-f]+)\s+protocol esp\s+SPI 0x([0-9a-f]+)/.exec(
      text,
    );
  if (moved === null) return undefined;
  const [, address, port, destination, reqid, spi] = moved;
  const id = { destination, spi: Number.parseInt(spi, 16) };
  return { kind: 'moved', id, reqid: Number.parseInt(reqid, 16), address, port: Number(port) };
}

/** The policies with one template of ESP in tunnel mode in what `ip xfrm policy` prints. */
export function parsePolicies(text: string): readonly XfrmPolicy[] {
  return blocksOf(text).flatMap((block) => parsePolicy(block) ?? []);
}

function parsePolicy(text: string): XfrmPolicy | undefined {
  const selector = /^src (\S+) dst (\S+)(?: proto (\S+))?(?: sport (\d+))?(?: dport (\d+))?/.exec(text);
  const kind = /\tdir (in|fwd|out) (?:action (\w+) )?(?:index \d+ )?priority (\d+)/.exec(text);
  const templates = [
    ...text.matchAll(
      /\ttmpl src (\S+) dst (\S+)\n\t\tproto (\S+) (?:spi 0x([0-9a-f]+)\S* )?reqid (\d+)\S* mode (\S+)/g,
    ),
  ];
  if (selector === null || kind === null || templates.length !== 1) return undefined;
  const [, source, destination, protocol, spi, reqid, mode] = templates[0];
  if (protocol !== 'esp' || mode !== 'tunnel') return undefined;
  return {
    direction: kind[1] as XfrmDirection,
    selector: {
      source: parsePrefix(selector[1]),
      destination: parsePrefix(selector[2]),
      protocol: protocolNumber(selector[3]),
      sourcePorts: exactly(selector[4]),
      destinationPorts: exactly(selector[5]),
    },
    ...parseScope(text),
    action: kind[2] === 'block' ? 'block' : 'allow',
    priority: Number(kind[3]),
    template: {
      reqid: Number(reqid),
      spi: Number.parseInt(spi ?? '0', 16),
      ...(/\tlevel use/.test(text) && { optional: true }),
      ...(!isAny(destination) && { path: { source, destination } }),
    },
  };
}

function isAny(address: Address): boolean {
  return address === '0.0.0.0' || address === '::';
}

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, icmp: 1, 'ipv6-icmp': 58 };

function protocolNumber(text: string | undefined): number {
  return text === undefined ? 0 : (PROTOCOLS[text] ?? Number(text));
}

function exactly(port: string | undefined): PortMask {
  return port === undefined ? ANY_PORT : { port: Number(port), mask: 0xffff };
}

function parseScope(text: string): XfrmScope {
  const mark = /\tmark (0x[0-9a-f]+|\d+)\/0xffffffff/.exec(text);
  const interfaceId = /\tif_id (0x[0-9a-f]+|\d+)/.exec(text);
  return {
    ...(mark && { mark: Number(mark[1]) }),
    ...(interfaceId && { interfaceId: Number(interfaceId[1]) }),
  };
}

/** What is printed of each: a line at the margin, and those that are indented. */
function blocksOf(text: string): readonly string[] {
  return text.split(/\n(?=\S)/).filter((block) => block.startsWith('src '));
}
