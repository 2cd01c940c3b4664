#!/bin/sh
# systemd-init.sh FOLDER CHECKOUT: makes a machine of the namespaces it is started in (mount, pid, network, uts, ipc) and runs
# systemd in it, with FOLDER/units as all its units. FOLDER/lib becomes /var/lib, FOLDER/etc the folder /etc/portcullis, and CHECKOUT
# /opt/portcullis, since units do not see what is in /tmp or /root. Whatever it mounts ends with its namespaces; the machine's
# settings are read-only to it.
set -eu
folder=$1
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
mount -t sysfs sysfs /sys
# A hierarchy of its own, without controllers, which works beside cgroups of version 2 as well.
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /opt
mkdir /opt/portcullis
mount --bind "$2" /opt/portcullis
mount --bind "$folder/lib" /var/lib
# On an overlay of /etc, so that nothing has to be made on the machine.
mkdir -p /run/etc/upper/portcullis /run/etc/work
cp -r "$folder/etc/." /run/etc/upper/portcullis/
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc

ip link set lo up
ip link add eth0 type veth peer name peer0
ip link set eth0 up
ip link set peer0 up
ip addr add 192.0.2.2/24 dev eth0
ip route add default via 192.0.2.1

# As in a container, so that it leaves alone what namespaces do not hold. Versions 256 and 257 take cgroups of version 1 when forced to.
export container=test SYSTEMD_UNIT_PATH="$folder/units" SYSTEMD_PROC_CMDLINE='SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1'
exec /lib/systemd/systemd --system --log-target=console --show-status=0 --unit=default.target
