#!/bin/sh
# user-manager.sh UID GID NAME HOME [GROUP]: becomes a systemd --user of that user, on any machine; GROUP is the id of
# one more group of theirs. To be run as root in a mount namespace of its own. systemd wants to see that it booted the machine, a runtime
# directory of the user, and a cgroup that it may divide; nothing of these outlives the namespace but the cgroups,
# named after this process.
set -eu
uid=$1 gid=$2 name=$3 home=$4
groups=--clear-groups
if [ -n "${5-}" ]; then groups=--groups=$5; fi

mkdir -p /run/systemd /run/user /run/dbus
mount -t tmpfs tmpfs /run/systemd
mkdir /run/systemd/system
mount -t tmpfs -o mode=755 tmpfs /run/user
# no logind, wherever the tests run
mount -t tmpfs -o mode=755 tmpfs /run/dbus
# podman takes what is left there for a host that was not restarted
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -m 700 "/run/user/$uid"
chown "$uid:$gid" "/run/user/$uid"
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -e "$hierarchy/cgroup.procs" ]; then
        group=$hierarchy/skupper-test-$$
        mkdir "$group"
        chown -R "$uid:$gid" "$group"
        echo $$ >"$group/cgroup.procs"
    fi
done
systemd=/usr/lib/systemd/systemd
if [ ! -x "$systemd" ]; then systemd=/lib/systemd/systemd; fi
exec setpriv --reuid "$uid" --regid "$gid" "$groups" --pdeathsig KILL \
    env -i HOME="$home" USER="$name" LOGNAME="$name" SHELL=/bin/sh PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    XDG_RUNTIME_DIR="/run/user/$uid" "$systemd" --user
