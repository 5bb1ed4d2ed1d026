/** TUNSETIFF with IFF_TUN | IFF_NO_PI, in Perl, which every Debian system has (it is Essential there). */
const SCRIPT = `
use strict; use Fcntl; use POSIX ();
$^F = 255;
my ($name, $fd, @command) = @ARGV;
sysopen(my $tun, '/dev/net/tun', O_RDWR | O_NONBLOCK)
  or die "/dev/net/tun: $!; it must exist and be writable for you (modprobe tun)\\n";
ioctl($tun, 0x400454ca, my $request = pack('a16 S x22', $name, 0x1001))
  or die "TUN device '$name': $!; it needs CAP_NET_ADMIN (root, or unshare -Urn), and no other process may have it\\n";
if (fileno($tun) != $fd) {
  POSIX::dup2(fileno($tun), $fd) // die "fd $fd: $!\\n";
  close($tun);
}
exec { $command[0] } @command or die "$command[0]: $!\\n";
`;

/**
 * The command line that opens TUN device `name` in the network namespace it runs in, and becomes `command` with the
 * device (non-blocking) as file descriptor `fd`: the way to a TUN device without FFI, for `tunFromFd`.
 */
export function tunLauncher(name: string, command: readonly string[], fd: number): readonly string[] {
  return ['perl', '-e', SCRIPT, name, String(fd), ...command];
}
