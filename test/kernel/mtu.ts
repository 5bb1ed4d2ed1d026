import { once } from 'node:events';
import { run } from '../../src/host/command.ts';
import { ip } from '../../src/host/ip.ts';
import { type Address, familyOf } from '../../src/wire/address.ts';
import { SLOWNESS } from '../guest/slowness.ts';
import type { Application } from './application.ts';
import { CheckError } from './checks.ts';
import { ADDRESSES, type World } from './world.ts';

const PORTS = { always: 7, never: 8 } as const;

/** IP and UDP headers. */
const HEADERS = { 4: 28, 6: 48 } as const;
const SMALL = 100;

/** Seconds until an answer has come that is certain to come. */
const PATIENCE = 60 * SLOWNESS;

/** How a socket has DF in what it sends, whatever the path is known to carry, or not: IP_PMTUDISC_PROBE, IP_PMTUDISC_DONT. */
const MTU_DISCOVERY = { always: 3, never: 0 } as const;
type Df = keyof typeof MTU_DISCOVERY;

/** What packets are marked with both ways: DSCP EF and ECT(1), which are for nobody to see outside of a tunnel. */
export const TRAFFIC_CLASS = 0xb9;

/** What Node cannot set of a UDP socket. */
const SOCKET = `
use Socket;
sub udp {
  my ($v6, $discovery) = @_;
  socket(my $socket, $v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
  setsockopt($socket, $v6 ? 41 : 0, $v6 ? 23 : 10, pack("i", $discovery)) or die "MTU discovery: $!";
  setsockopt($socket, $v6 ? 41 : 0, $v6 ? 67 : 1, pack("i", ${TRAFFIC_CLASS})) or die "traffic class: $!";
  setsockopt($socket, 41, 62, pack("i", $discovery == 3 ? 1 : 0)) or die "IPV6_DONTFRAG: $!" if $v6;
  return $socket;
}
sub name {
  my ($address, $port) = @_;
  my $v6 = $address =~ /:/;
  return $v6 ? pack_sockaddr_in6($port, Socket::inet_pton(AF_INET6, $address)) : pack_sockaddr_in($port, inet_aton($address));
}
`;

/**
 * Sends questions, "LENGTH:ANSWER" in octets, and prints the lengths of the answers that come, up to that to the last question: what
 * has not come before it does not come, for nothing on the way changes the order.
 */
const ASK = String.raw`${SOCKET}
my ($address, $port, $discovery, @questions) = @ARGV;
my $socket = udp($address =~ /:/ ? 1 : 0, $discovery);
my $last;
for (@questions) {
  (my $length, $last) = split /:/;
  send($socket, pack("n", $last) . "\0" x ($length - 2), 0, name($address, $port)) or $!{EMSGSIZE} or die "send: $!";
}
alarm ${PATIENCE};
my $got = "";
do { defined recv($socket, $got, 65535, 0) or die "recv: $!"; print length($got), "\n" } until length($got) == $last;
`;

/** Answers at sockets, "ADDRESS/PORT/DISCOVERY", with as many octets as a question's first two say. */
const SERVER = String.raw`${SOCKET}
$| = 1;
my $all = "";
my @sockets = map {
  my ($address, $port, $discovery) = split m{/};
  my $socket = udp($address =~ /:/ ? 1 : 0, $discovery);
  bind($socket, name($address, $port)) or die "bind: $!";
  vec($all, fileno($socket), 1) = 1;
  $socket;
} @ARGV;
print "bound";
while (select(my $ready = $all, undef, undef, undef)) {
  for my $socket (grep { vec($ready, fileno($_), 1) } @sockets) {
    my $from = recv($socket, my $question, 65535, 0);
    send($socket, "\0" x unpack("n", $question), 0, $from) if defined $from;
  }
}
`;

/** Answers at D; it ends with the world. */
export async function answerAtServer({ nodes }: World): Promise<void> {
  const sockets = Object.values(ADDRESSES.D).flatMap((address) =>
    (['always', 'never'] as const).map((df) => [address, PORTS[df], MTU_DISCOVERY[df]].join('/')),
  );
  const server = nodes.D.spawn(['perl', '-e', SERVER, ...sockets], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout!, 'data');
}

/** Packets of `mtu` octets pass in both directions and larger ones do not, whatever the device lets through. @throws CheckError */
export async function checkMtu(
  application: Application,
  mtu: number,
  server: Address = ADDRESSES.D.ip4,
): Promise<void> {
  const setMtu = (octets: number) =>
    ip(['link', 'set', application.device, 'mtu', String(octets)], { netns: application.pid });
  if (application.mtu !== mtu) throw new CheckError(`the MTU is ${application.mtu}, not ${mtu}`);
  const passing = await ask(
    application,
    server,
    [
      { length: mtu, answer: SMALL },
      { length: SMALL, answer: mtu },
    ],
    'always',
  );
  if (!passing.has(SMALL)) throw new CheckError(`a packet of ${mtu} octets does not pass on the way to D`);
  if (!passing.has(mtu)) throw new CheckError(`a packet of ${mtu} octets does not pass on the way from D`);
  await setMtu(mtu + SMALL);
  const tooLarge = await ask(
    application,
    server,
    [
      { length: mtu + 1, answer: SMALL },
      { length: SMALL, answer: mtu + 1 },
    ],
    'always',
  );
  if (tooLarge.has(SMALL)) throw new CheckError(`a packet of ${mtu + 1} octets passes on the way to D`);
  if (tooLarge.has(mtu + 1)) throw new CheckError(`a packet of ${mtu + 1} octets passes on the way from D`);
  await setMtu(mtu);
}

/** @returns whether a small packet gets to D, and one from there comes back; their headers are marked, and say DF or do not */
export async function exchange(application: Application, server: Address, df: Df): Promise<boolean> {
  const answers = await ask(application, server, [{ length: SMALL, answer: SMALL }], df);
  return answers.has(SMALL);
}

/**
 * D is told by the exit, in its own name, what is too large for the telescope, and what D lets be cut arrives. D is not to know before:
 * it would cut by itself.
 * @throws CheckError
 */
export async function checkTooLong(
  application: Application,
  { nodes }: World,
  exit: Address,
  mtu: number,
): Promise<void> {
  const { pid: netns } = nodes.D;
  await ip(['route', 'flush', 'cache'], { netns });
  const question = { length: SMALL, answer: mtu + 1 };
  const cut = await ask(application, ADDRESSES.D.ip4, [question], 'never');
  if (!cut.has(question.answer))
    throw new CheckError(`a packet of ${question.answer} octets from D that may be cut does not pass`);
  await ask(application, ADDRESSES.D.ip4, [question], 'always');
  const { stdout } = await ip(['route', 'get', exit], { netns });
  const known = Number(/ mtu (\d+)/.exec(stdout)?.[1]);
  if (known !== mtu) throw new CheckError(`D knows an MTU of ${known} to the exit, not ${mtu}: ${stdout}`);
}

/** Octets, with the headers. */
interface Question {
  readonly length: number;
  readonly answer: number;
}

/** @returns the lengths of answers that came, with the headers. @throws CommandError if not even a small one did */
async function ask(
  { pid }: Application,
  to: Address,
  questions: readonly Question[],
  df: Df,
): Promise<ReadonlySet<number>> {
  const headers = HEADERS[familyOf(to)];
  const last = { length: SMALL, answer: SMALL + 1 };
  const texts = [...questions, last].map(({ length, answer }) => `${length - headers}:${answer - headers}`);
  const command = ['perl', '-MErrno', '-e', ASK, to, PORTS[df], MTU_DISCOVERY[df], ...texts].map(String);
  const { stdout } = await run(command, { netns: pid });
  return new Set(
    stdout
      .trim()
      .split('\n')
      .map((length) => Number(length) + headers),
  );
}
