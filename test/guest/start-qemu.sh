#!/bin/sh
# start.sh for a stock kernel in QEMU, whose processor is software: start-qemu.sh MEMORY ROOT OUT <COMMAND. The kernel, its modules and
# busybox are in the folder ROOT.
set -eu
memory=$1 root=$2 out=$3
job=/run/guest

mount -t tmpfs -o mode=700,size=512m guest /run
mkdir $job
here=$(dirname "$0")
cp "$here/init.sh" $job/init.sh
cat >$job/command
[ -z "$out" ] || echo "$out" >$job/out

version=$(ls "$root/lib/modules")
mkdir -p "$job/lib/modules/$version"
ln -s "$root/lib/modules/$version"/* "$job/lib/modules/$version"
depmod -b $job "$version"

mkdir -p $job/initramfs/bin $job/initramfs/modules
cp "$root/bin/busybox" $job/initramfs/bin
cp "$here/init-qemu.sh" $job/initramfs/init
chmod 755 $job/initramfs/init $job/init.sh
for module in virtio_pci 9pnet_virtio 9p overlay; do
  modprobe -S "$version" -d $job --show-depends $module
done | while read -r _ file; do
  [ -e "$job/initramfs/modules/${file##*/}" ] && continue
  cp "$file" $job/initramfs/modules
  echo "${file##*/}" >>$job/initramfs/modules/order
done
(cd $job/initramfs && find . | "$root/bin/busybox" cpio -o -H newc) >$job/initramfs.cpio 2>/dev/null

# Open for writing until QEMU has ended: then those who read them come to an end, whether it has opened them or not.
mkfifo $job/output $job/errors
exec 4<>$job/output 5<>$job/errors
cat <$job/output 3>&- 4>&- 5>&- &
cat <$job/errors >&2 3>&- 4>&- 5>&- &
share() { # tag, folder, options
  echo "-fsdev local,id=$1,path=$2,security_model=none$3 -device virtio-9p-pci,fsdev=$1,mount_tag=$1"
}
port() { # name, number
  echo "-chardev file,id=$1,path=$job/$1 -device virtserialport,chardev=$1,nr=$2"
}
# shellcheck disable=SC2046
qemu-system-x86_64 -accel tcg -cpu max -m "$memory" -nodefaults -no-user-config -display none -no-reboot \
  -kernel "$root/boot/vmlinuz-$version" -initrd $job/initramfs.cpio -append 'console=ttyS0 quiet panic=-1 mitigations=off no_timer_check nowatchdog' \
  -chardev file,id=kernel,path=$job/kernel -serial chardev:kernel -device virtio-serial-pci $(port output 1) $(port errors 2) \
  $(share root / ,readonly=on,multidevs=remap) $(share job $job '') ${out:+$(share out "$out" '')} \
  >$job/console 2>&1 3>&- 4>&- 5>&- </dev/null || true
exec 4>&- 5>&-
wait
cat $job/status >&3 2>/dev/null || cat $job/kernel $job/console | uniq | tail -n 40 >&3
