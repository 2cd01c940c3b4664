#!/bin/sh
# node-init.sh FOLDER NAME: PID 1 of a node, in mount, pid, network and uts namespaces of its own. Gives it what a machine has of
# its own, says so in FOLDER/ready, and waits. With this process all of the node ends, mounts and BPF pins too.
set -eu
folder=$1
hostname "$2"

# What /sys shows of network devices goes by who mounted it. The cgroups are the machine's.
mkdir -p "$folder/cgroups"
mount --rbind /sys/fs/cgroup "$folder/cgroups"
mount -t sysfs sysfs /sys
mount --rbind "$folder/cgroups" /sys/fs/cgroup
umount -l "$folder/cgroups"
mount -t bpf bpf /sys/fs/bpf

# Lost when the node ends, as on a machine.
mount -t tmpfs tmpfs /run
# Kept from one start of the node to the next one.
for part in lib log; do
  mkdir -p "$folder/var-$part"
  mount --bind "$folder/var-$part" "/var/$part"
done

# kubelet sets these for the whole machine where they differ: it finds them as it wants them, and the machine's stay.
bind_sysctl() {
  [ "$(cat "/proc/sys/$1")" != "$2" ] || return 0
  file=/run/sysctl-$(echo "$1" | tr / -)
  echo "$2" > "$file"
  mount --bind "$file" "/proc/sys/$1"
}
bind_sysctl vm/overcommit_memory 1
bind_sysctl vm/panic_on_oom 0
bind_sysctl kernel/panic 10
bind_sysctl kernel/panic_on_oops 1
bind_sysctl kernel/keys/root_maxkeys 1000000
bind_sysctl kernel/keys/root_maxbytes 25000000

# Last: volumes with mount propagation, and runc, want mounts that are shared, as on a machine.
mount --make-rshared /
: > "$folder/ready"
while :; do
  sleep 3600 &
  # Killed with all others where a test kills what runs on the node.
  wait $! || :
done
