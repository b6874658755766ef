#!/bin/sh
# guest.sh DIRECTORY PROGRAM NAME: boots this machine's userland once more, as a host of its own with logind and all,
# each time a line comes on standard input; ends with its input.
# To be run as root in a mount and a process namespace of its own. What the guest writes goes to memory and stays until
# the end, also when the guest dies. Of the units that this machine's administrator made or enabled it has none, of the
# network only a loopback interface. PROGRAM is its /usr/local/bin/skupper; its cgroups are skupper-test-NAME.
set -eu
directory=$1 program=$2 name=$3
root=$directory/root

# not on the disk: a part of the lower file system can't be the upper one
mount -t tmpfs -o mode=755 tmpfs "$directory"
mkdir "$directory/upper" "$directory/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/upper,workdir=$directory/work" "$root"
rm -rf "$root"/etc/systemd/system "$root"/etc/systemd/user "$root"/var/lib/systemd/linger "$root"/var/lib/skupper
# with the latter, the journal is kept, and users have files of their own
mkdir -p "$root/etc/systemd/system" "$root/usr/local/bin" "$root/var/log/journal"
ln -s /dev/null "$root/etc/systemd/system/console-getty.service"
# another machine than this one
: >"$root/etc/machine-id"
: >"$root/etc/fstab"
: >"$root/usr/local/bin/skupper"

# the manager puts the guest into a group below its own
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -e "$hierarchy/cgroup.procs" ]; then
        mkdir "$hierarchy/skupper-test-$name"
        echo 0 >"$hierarchy/skupper-test-$name/cgroup.procs"
    fi
done

while read -r _; do
    # a host without systemd has no machined
    systemd-nspawn --quiet --directory "$root" --machine=skupper-guest \
        --register=no --keep-unit --private-network --bind-ro="$program:/usr/local/bin/skupper" \
        --boot systemd.unit=multi-user.target </dev/null || echo "the guest ended: $?"
done
