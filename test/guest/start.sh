#!/bin/sh
# Boots a guest kernel: start.sh MEMORY CPU OUT <COMMAND, in a mount and a process namespace of its own. What the command writes goes to
# descriptors 1 and 2, its status to 3, or what the kernel said if there is none. All files are in a tmpfs that ends with the namespace.
set -eu
memory=$1 cpu=$2 out=$3

mount -t tmpfs -o mode=700,size="$((memory + 64))m" guest /run
mkdir /run/guest
here=$(dirname "$0")
cp "$here/init.sh" /run/guest/init.sh
cat >/run/guest/command
[ -z "$out" ] || echo "$out" >/run/guest/out

preload=
if grep -qw amx_tile /proc/cpuinfo; then
  preload=/run/guest/xsave.so
  gcc -O2 -shared -fPIC -o "$preload" "$here/xsave.c"
fi

# On one CPU: each system call of the guest is two switches between processes of the host, several times dearer across CPUs.
TMPDIR=/run/guest LD_PRELOAD=$preload taskset -c "$cpu" linux.uml \
  mem="${memory}M" rootfstype=hostfs rootflags=/ ro quiet init=/run/guest/init.sh umid=guest uml_dir=/run/guest/ \
  con=null con0=null,fd:6 ssl=null ssl0=null,fd:4 ssl1=null,fd:5 \
  4>&1 5>&2 6>/run/guest/console >/run/guest/kernel 2>&1 3>&- </dev/null || true
cat /run/guest/status >&3 2>/dev/null || cat /run/guest/kernel /run/guest/console | uniq | tail -n 40 >&3
