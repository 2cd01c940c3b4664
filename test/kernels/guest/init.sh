#!/bin/sh
# The guest's process 1: makes the place that the tests need, runs them, and switches the machine off.
/bin/busybox --install -s /bin
# --install leaves alone what is there: ip, ethtool and nsenter are the real ones.
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/netns /dev/shm
ip link set lo up
# A resolver that the agent can read of; nobody asks it.
echo 'nameserver 192.0.2.53' >/etc/resolv.conf
for module in /modules/*.ko; do
  [ -e "$module" ] && insmod "$module"
done
# No echo and no translation of line ends on the port that carries results.
stty -F /dev/ttyS1 raw -echo
suite=$(sed -n 's/.*suite=\([a-z,]*\).*/\1/p' /proc/cmdline)
cd /portcullis || poweroff -f
node_modules/.bin/node test/kernels/guest/main.ts "$suite"
code=$?
echo "node ended with $code"
# Where it was killed for a fault of its own, the kernel says where.
[ "$code" = 0 ] || dmesg | tail -n 20
poweroff -f
