#!/bin/sh
# The first process of a guest kernel. Its root is the host's, which it only reads; what the guest writes there stays in its RAM.
# User Mode Linux starts it on the host's own root, and then it runs on an overlay of it, which for a stock kernel init-qemu.sh has made.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

job=/run/guest

halt() { # [what is wrong]; the host looks for the status of the command
  [ $# -eq 0 ] || echo "guest: $*" >&2
  echo o >/proc/sysrq-trigger
  sleep 10
}

if [ $# -eq 0 ]; then
  mount -t proc proc /proc
  mount -t tmpfs -o size=90% ram /mnt || halt 'no tmpfs'
  mkdir /mnt/written /mnt/work /mnt/root
  insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko" || halt 'no overlay.ko'
  mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/written,workdir=/mnt/work /mnt/root || halt 'no overlay'
  # By pivot_root rather than chroot: modprobe, when the kernel calls it, sees the new root too.
  cd /mnt/root && pivot_root . mnt || halt 'no pivot_root'
  exec chroot . "$job/init.sh" uml </dev/null
fi

case $1 in
uml)
  umount -l /mnt
  modules=/usr/lib/uml/modules output=/dev/ttyS0 errors=/dev/ttyS1
  share() { # name, folder
    mount -t hostfs "$1" "$2" -o "$2"
  }
  ;;
qemu)
  modules=$job/lib/modules output=/dev/vport0p1 errors=/dev/vport0p2
  share() {
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 "$1" "$2"
  }
  ;;
esac
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /lib/modules
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mkdir -p /run/lock "$job"
share job "$job" || halt "no $job"
mount --bind "$modules" /lib/modules
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
if [ -s "$job/out" ]; then
  read -r out <"$job/out"
  mkdir -p "$out" && share out "$out" || halt "no $out"
fi
hostname guest
ip link set lo up
# What is not loaded by itself when it is first used.
modprobe -a tun ipv6 || halt 'no tun or ipv6'

# Two serial lines are the command's output. Raw: not an octet is changed.
case $1 in
uml)
  stty -F "$output" raw -echo
  stty -F "$errors" raw -echo
  ;;
qemu) modprobe virtio_console || halt 'no virtio_console' ;;
esac
exec 3>"$output" 4>"$errors"
setsid -w sh "$job/command" </dev/null >&3 2>&4 3>&- 4>&-
status=$?
# Closing waits until all has been written.
exec 3>&- 4>&-
echo "$status" >"$job/status"
halt
