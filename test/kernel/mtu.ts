import { once } from 'node:events';
import { run } from '../../src/host/command.ts';
import { ip } from '../../src/host/ip.ts';
import { type Address, familyOf } from '../../src/wire/address.ts';
import type { Application } from './application.ts';
import { CheckError } from './checks.ts';
import { ADDRESSES, type World } from './world.ts';

const PORTS = { always: 7, never: 8 } as const;

/** IP and UDP headers. */
const HEADERS = { 4: 28, 6: 48 } as const;
const SMALL = 100;

/** How a socket has DF in what it sends, whatever the path is known to carry, or not: IP_PMTUDISC_PROBE, IP_PMTUDISC_DONT. */
const MTU_DISCOVERY = { always: 3, never: 0 } as const;
type Df = keyof typeof MTU_DISCOVERY;

/** What Node cannot set of a UDP socket. DSCP EF and ECT(1) are for nobody to see outside of a tunnel. */
const SOCKET = `
use Socket;
sub udp {
  my ($v6, $discovery) = @_;
  socket(my $socket, $v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
  setsockopt($socket, $v6 ? 41 : 0, $v6 ? 23 : 10, pack("i", $discovery)) or die "MTU discovery: $!";
  setsockopt($socket, $v6 ? 41 : 0, $v6 ? 67 : 1, pack("i", 0xb9)) or die "traffic class: $!";
  setsockopt($socket, 41, 62, pack("i", $discovery == 3 ? 1 : 0)) or die "IPV6_DONTFRAG: $!" if $v6;
  return $socket;
}
sub name {
  my ($address, $port) = @_;
  my $v6 = $address =~ /:/;
  return $v6 ? pack_sockaddr_in6($port, Socket::inet_pton(AF_INET6, $address)) : pack_sockaddr_in($port, inet_aton($address));
}
`;

/** Sends $length octets and prints how many are sent back, of $answer that it asks for. */
const PROBE = String.raw`${SOCKET}
my ($address, $port, $discovery, $length, $answer) = @ARGV;
my $socket = udp($address =~ /:/ ? 1 : 0, $discovery);
if (!send($socket, pack("n", $answer) . "\0" x ($length - 2), 0, name($address, $port))) { print $!{EMSGSIZE} ? "too long" : "error $!"; exit; }
my $bits = "";
vec($bits, fileno($socket), 1) = 1;
my $got = "";
if (select($bits, undef, undef, 1.5) && defined recv($socket, $got, 65535, 0)) { print length $got } else { print "silence" }
`;

/** Answers with as many octets as the question's first two say. */
const SERVER = String.raw`${SOCKET}
$| = 1;
my ($address, $port, $discovery) = @ARGV;
my $socket = udp($address =~ /:/ ? 1 : 0, $discovery);
bind($socket, name($address, $port)) or die "bind: $!";
print "bound";
while (1) {
  my $from = recv($socket, my $question, 65535, 0);
  send($socket, "\0" x unpack("n", $question), 0, $from) if defined $from;
}
`;

/** Answers at D, which end with the world. */
export async function answerAtServer({ nodes }: World): Promise<void> {
  for (const address of Object.values(ADDRESSES.D)) {
    for (const df of ['always', 'never'] as const) {
      const command = ['perl', '-e', SERVER, address, PORTS[df], MTU_DISCOVERY[df]].map(String);
      const server = nodes.D.spawn(command, { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(server.stdout!, 'data');
    }
  }
}

/** Packets of `mtu` octets pass in both directions and larger ones do not, whatever the device lets through. @throws CheckError */
export async function checkMtu(
  application: Application,
  mtu: number,
  server: Address = ADDRESSES.D.ip4,
): Promise<void> {
  const ask = (length: number, answer: number) => probe(application, server, length, answer);
  const passes = async (length: number, answer: number) =>
    (await ask(length, answer)) === String(answer - HEADERS[familyOf(server)]);
  const setMtu = (octets: number) =>
    ip(['link', 'set', application.device, 'mtu', String(octets)], { netns: application.pid });
  if (application.mtu !== mtu) throw new CheckError(`the MTU is ${application.mtu}, not ${mtu}`);
  if (!(await passes(mtu, SMALL)))
    throw new CheckError(`a packet of ${mtu} octets does not pass on the way to D`);
  if (!(await passes(SMALL, mtu)))
    throw new CheckError(`a packet of ${mtu} octets does not pass on the way from D`);
  await setMtu(mtu + SMALL);
  if (await passes(mtu + 1, SMALL))
    throw new CheckError(`a packet of ${mtu + 1} octets passes on the way to D`);
  if (await passes(SMALL, mtu + 1))
    throw new CheckError(`a packet of ${mtu + 1} octets passes on the way from D`);
  await setMtu(mtu);
}

/** Packets pass both ways whose headers say all that an outer header must not: DSCP, ECN, no DF. @throws CheckError */
export async function checkMarked(application: Application, server: Address): Promise<void> {
  const answer = await probe(application, server, SMALL, SMALL, 'never');
  if (answer !== String(SMALL - HEADERS[familyOf(server)]))
    throw new CheckError(`a packet without DF does not get to D and back: ${answer}`);
}

/** @param length - octets with the headers, as `answer` @returns the octets that came back, without headers, or what happened instead */
async function probe(
  application: Application,
  to: Address,
  length: number,
  answer: number,
  df: Df = 'always',
): Promise<string> {
  const octets = [length, answer].map((each) => each - HEADERS[familyOf(to)]);
  const command = ['perl', '-MErrno', '-e', PROBE, to, PORTS[df], MTU_DISCOVERY[df], ...octets].map(String);
  const { stdout } = await run(command, { netns: application.pid });
  return stdout;
}
