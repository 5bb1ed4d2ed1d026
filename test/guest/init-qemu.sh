#!/bin/busybox sh
# The first process of a stock kernel, in its initramfs: makes an overlay of the host's root, as init.sh does for User Mode Linux, and
# leaves the rest to that.
export PATH=/bin
/bin/busybox --install -s /bin

halt() { # what is wrong
  echo "guest: $*"
  poweroff -f
}

mkdir -p /proc /host /ram /root
mount -t proc proc /proc
while read -r module; do
  insmod "/modules/$module" || halt "no $module"
done </modules/order
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose,noxattr root /host || halt 'no root'
mount -t tmpfs -o size=90% ram /ram
mkdir /ram/written /ram/work
mount -t overlay overlay -o lowerdir=/host,upperdir=/ram/written,workdir=/ram/work /root || halt 'no overlay'
exec switch_root /root /run/guest/init.sh qemu
