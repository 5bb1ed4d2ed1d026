import { run } from '../../src/host/command.ts';
import { ip } from '../../src/host/ip.ts';
import { type Address, type Family, familyOf } from '../../src/wire/address.ts';
import type { Application } from './application.ts';
import { CheckError } from './checks.ts';
import { openUdpIn, type UdpSocket } from './udp.ts';
import { ADDRESSES, type World } from './world.ts';

const PORT = 7;

/** IP and UDP headers. */
const HEADERS = { 4: 28, 6: 48 } as const;
const SMALL = 100;

/**
 * Sends a UDP packet of $length octets, with DF, whatever the path is known to carry, and asks for an answer of $answer octets;
 * Node cannot set DF. Octets are counted with the headers.
 */
const PROBE = String.raw`
use Socket;
my ($family, $address, $port, $length, $answer) = @ARGV;
my $v6 = $family == 6;
socket(my $socket, $v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0) or die;
setsockopt($socket, $v6 ? 41 : 0, $v6 ? 23 : 10, pack("i", 3)) or die;
setsockopt($socket, 41, 62, pack("i", 1)) or die if $v6;
my $to = $v6 ? pack_sockaddr_in6($port, Socket::inet_pton(AF_INET6, $address)) : pack_sockaddr_in($port, inet_aton($address));
if (!send($socket, pack("n", $answer) . "\0" x ($length - 2), 0, $to)) { print $!{EMSGSIZE} ? "too long" : "error $!"; exit; }
my $bits = "";
vec($bits, fileno($socket), 1) = 1;
my $got = "";
if (select($bits, undef, undef, 1.5) && defined recv($socket, $got, 65535, 0)) { print length $got } else { print "silence" }
`;

/** Answers at D: with as many octets as the question's first two say. */
export function answerAtServer({ nodes }: World): UdpSocket[] {
  return Object.values(ADDRESSES.D).map((address) => {
    const socket = openUdpIn(nodes.D.pid, address, PORT, (question, source) => {
      const length = (question[0] << 8) | question[1];
      socket.send(new Uint8Array(length), source.address, source.port);
    });
    return socket;
  });
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

async function probe(application: Application, to: Address, length: number, answer: number): Promise<string> {
  const family: Family = familyOf(to);
  const octets = [length, answer].map((each) => String(each - HEADERS[family]));
  const command = ['perl', '-MSocket', '-MErrno', '-e', PROBE, String(family), to, String(PORT), ...octets];
  const { stdout } = await run(command, { netns: application.pid });
  return stdout;
}
