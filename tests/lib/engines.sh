# shellcheck shell=bash
# Starts the container engines that the end-to-end tests use, and stops them again.
# Sourced by tests/run.sh; wants $out and release_binary.
#
# Every engine keeps its storage under one scratch folder, so that the suite neither sees nor touches
# the containers of the machine's user. What runs is remembered by pid in `services`.

readonly test_user=skupper-test
scratch=''
services=()
rootful=()  # podman of root on the storage of this run: a command with its first arguments
rootless=() # the same for the rootless user
made_docker_bridge=''

# start_service LOG COMMAND…: in the background, detached from our streams and from the lock.
start_service() {
    local log=$1
    shift
    "$@" </dev/null >"$log" 2>&1 9>&- &
    services+=("$!")
}

# keep_running COMMAND…: starts it again whenever it ends, until SIGTERM. Tests end an engine to see what comes back.
keep_running() {
    local pid
    trap 'kill -TERM "$pid"; wait "$pid"; exit' TERM
    while :; do
        "$@" &
        pid=$!
        wait "$pid"
        sleep 1
    done
}

# A zombie counts as dead: where pid 1 does not reap orphans they stay for good.
is_running() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    [ "${stat%% *}" != Z ]
}

# stop_pid PID SECONDS: SIGTERM, then SIGKILL when it is still there.
stop_pid() {
    local tries=$(($2 * 10))
    kill -TERM "$1" 2>/dev/null || return 0
    while is_running "$1" && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    if is_running "$1"; then kill -KILL "$1" 2>/dev/null; fi
    wait "$1" 2>/dev/null
}

# answers SOCKET: whether an engine answers a ping there.
answers() {
    curl --silent --fail --max-time 2 --unix-socket "$1" http://engine/_ping >/dev/null 2>&1
}

# wait_answer SOCKET: until the engine at the socket answers a ping; 30 s at most.
wait_answer() {
    local tries=150
    until answers "$1"; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ]; then return 1; fi
        sleep 0.2
    done
}

# Sets `rootful` and `rootless`. To be called again when CONTAINERS_CONF has changed.
set_commands() {
    local id home as_user=()
    if [ -n "${SKUPPER_TEST_PODMAN_ROOTLESS_USER-}" ]; then
        id=$(id -u "$test_user") home=$(getent passwd "$test_user" | cut -d: -f6)
        as_user=(
            setpriv --reuid "$id" --regid "$(id -g "$test_user")" --init-groups
            env -i --chdir "$home" HOME="$home" USER="$test_user" LOGNAME="$test_user"
            PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin XDG_RUNTIME_DIR="/run/user/$id"
        )
        if [ -n "${CONTAINERS_CONF-}" ]; then as_user+=(CONTAINERS_CONF="$CONTAINERS_CONF"); fi
    fi
    # Without a word on the driver, podman may pick vfs for a rootless user: slow, and a copy per layer.
    rootful=(
        podman --root "$scratch/rootful/root" --runroot "$scratch/rootful/run" --tmpdir "$scratch/rootful/tmp"
        --network-config-dir "$scratch/rootful/networks" --storage-driver overlay
    )
    rootless=(
        "${as_user[@]}"
        podman --root "$scratch/rootless/root" --runroot "$scratch/rootless/run" --tmpdir "$scratch/rootless/tmp"
        --network-config-dir "$scratch/rootless/networks" --storage-driver overlay
    )
}

# Root only: devices that rootless containers need, and a user to run them.
prepare_user() {
    local device id
    # udev makes these world-writable on an ordinary host; a machine without udev has them 0600.
    for device in /dev/net/tun /dev/fuse; do
        if [ -c "$device" ] && [ "$(stat -c %a "$device")" != 666 ]; then chmod 0666 "$device"; fi
    done
    if ! id "$test_user" >/dev/null 2>&1; then
        useradd --create-home --shell /bin/bash "$test_user" || return 1
    fi
    # Debian's useradd gives the user ids for its namespaces; one made by other means may have none.
    if ! grep -q "^$test_user:" /etc/subuid; then
        usermod --add-subuids 1879048192-1879113727 --add-subgids 1879048192-1879113727 "$test_user" || return 1
    fi
    id=$(id -u "$test_user")
    install -d -m 0700 -o "$test_user" -g "$test_user" "/run/user/$id" "/run/user/$id/podman"
    chown "$test_user:" "$scratch/rootless"
}

# Settings for machines whose defaults cannot run a container: no systemd to make cgroups, no journal,
# or limits that may not be raised to podman's defaults (an empty list leaves them as they are).
write_containers_conf() {
    cat >"$scratch/containers.conf" <<CONF
[containers]
default_ulimits = []
log_driver = "k8s-file"
[engine]
runtime = "$1"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
    chmod 0644 "$scratch/containers.conf"
}

# can_run PODMAN…: whether a container with one static program runs through this podman command.
can_run() {
    timeout 60 "$@" run --rm --network none --rootfs "$scratch/probe" /true
}

# Chooses the first settings with which `can_run "${rootless[@]}"` and, as root, the rootful one work: the
# machine's own, then ours with crun, then ours with runc (crun raises a limit and wants one cgroup
# hierarchy, which not every machine allows).
choose_containers_conf() {
    local choice
    # Namespaces of a rootless user map this folder's owner to nobody, so it must be open to all.
    mkdir -p "$scratch/probe"
    printf 'int main(void) { return 0; }\n' | gcc -static -O1 -x c -o "$scratch/probe/true" - || return 1
    chmod -R a+rwX "$scratch/probe"
    for choice in own crun runc; do
        echo "trying containers with settings: $choice"
        if [ "$choice" != own ]; then
            export CONTAINERS_CONF=$scratch/containers.conf
            write_containers_conf "$choice"
        fi
        set_commands
        if { [ "$(id -u)" -ne 0 ] || can_run "${rootful[@]}"; } && can_run "${rootless[@]}"; then
            echo "engine: podman settings: ${CONTAINERS_CONF:-of this machine}${CONTAINERS_CONF:+ with $choice}"
            return 0
        fi
    done
    echo "no settings let podman run a container here; the messages above say why"
    return 1
}

start_podman_rootful() {
    local socket=$scratch/rootful/podman.sock
    start_service "$out/podman.log" "${rootful[@]}" system service --time 0 "unix://$socket"
    wait_answer "$socket" || {
        echo "rootful podman does not answer: see $out/podman.log"
        return 1
    }
    export SKUPPER_TEST_PODMAN=unix://$socket
    echo "engine: $(podman --version), rootful, $SKUPPER_TEST_PODMAN"
}

start_podman_rootless() {
    local socket=$scratch/rootless/podman.sock
    if [ -n "${SKUPPER_TEST_PODMAN_ROOTLESS_USER-}" ]; then
        socket=/run/user/$(id -u "$test_user")/podman/podman.sock
        rm -f "$socket"
    fi
    start_service "$out/podman-rootless.log" "${rootless[@]}" system service --time 0 "unix://$socket"
    wait_answer "$socket" || {
        echo "rootless podman does not answer: see $out/podman-rootless.log"
        return 1
    }
    export SKUPPER_TEST_PODMAN_ROOTLESS=unix://$socket
    echo "engine: $(podman --version), rootless, $SKUPPER_TEST_PODMAN_ROOTLESS"
}

start_docker() {
    local folder=$scratch/docker group=()
    if [ -n "${SKUPPER_TEST_DOCKER-}" ]; then
        echo "engine: docker as given, $SKUPPER_TEST_DOCKER"
        return 0
    fi
    # A second daemon would rewrite the packet filter's chains of the first, so one that runs is used.
    if answers /var/run/docker.sock; then
        export SKUPPER_TEST_DOCKER=unix:///var/run/docker.sock
        echo "engine: docker of this machine, $SKUPPER_TEST_DOCKER"
        return 0
    fi
    mkdir "$folder"
    if [ ! -e /sys/class/net/docker0 ]; then made_docker_bridge=yes; fi
    if getent group docker >/dev/null; then group=(--group docker); fi
    start_service "$out/dockerd.log" keep_running dockerd --host "unix://$folder/docker.sock" "${group[@]}" \
        --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/docker.pid"
    wait_answer "$folder/docker.sock" || {
        echo "dockerd does not answer: see $out/dockerd.log"
        return 1
    }
    export SKUPPER_TEST_DOCKER=unix://$folder/docker.sock SKUPPER_TEST_DOCKER_PIDFILE=$folder/docker.pid
    echo "engine: $(dockerd --version), $SKUPPER_TEST_DOCKER"
}

# Exports SKUPPER_TEST_PYTHON: a python that has the independent AMQP client.
find_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import proton' 2>/dev/null; then
            SKUPPER_TEST_PYTHON=$(command -v "$python")
            export SKUPPER_TEST_PYTHON
            return 0
        fi
    done
    echo "no python3 can import proton: install python3-qpid-proton"
    return 1
}

# One run at a time: sites use fixed default ports, and a rootless user has one runtime folder.
take_lock() {
    local lock=${XDG_RUNTIME_DIR:-/run}
    if [ ! -w "$lock" ]; then lock=${HOME:-/tmp}; fi
    lock=$lock/skupper-tests.lock
    exec 9>"$lock"
    if ! flock --nonblock 9; then
        echo "waiting for another run of the end-to-end tests, which holds $lock"
        flock --wait 1800 9 || return 1
    fi
}

# Everything the end-to-end tests need, in exported variables. As root each engine must come up; another
# user gets rootless podman, and docker where the machine's own is open to that user.
start_engines() {
    local binary
    take_lock || return 1
    install_packages "${build_packages[@]}" "${engine_packages[@]}" || return 1
    scratch=$(mktemp -d /tmp/skupper-tests.XXXXXX) || return 1
    chmod 0755 "$scratch"
    # `bin` gets a copy that every user can read: the clone may lie in a private home.
    mkdir "$scratch/bin" "$scratch/rootful" "$scratch/rootless" "$scratch/work"
    binary=$(release_binary) && [ -n "$binary" ] || return 1
    install -m 0755 "$binary" "$scratch/bin/skupper" || return 1
    export SKUPPER_BIN=$scratch/bin/skupper SKUPPER_TEST_DIR=$scratch/work
    find_python || return 1

    if [ "$(id -u)" -eq 0 ]; then
        export SKUPPER_TEST_ENGINES=required SKUPPER_TEST_PODMAN_ROOTLESS_USER=$test_user
        prepare_user && choose_containers_conf && start_podman_rootful && start_podman_rootless && start_docker
    else
        export SKUPPER_TEST_ENGINES=available
        choose_containers_conf && start_podman_rootless || return 1
        if docker info >/dev/null 2>&1; then start_docker; else echo "engine: no docker for $(id -un)"; fi
        echo "engine: no rootful podman for $(id -un)"
    fi
}

# Processes of the copied binary that a test left behind: the suite must end with none.
stop_strays() {
    local exe pid
    for exe in /proc/[0-9]*/exe; do
        if [ "$(readlink "$exe")" = "$SKUPPER_BIN" ]; then
            pid=${exe#/proc/} pid=${pid%/exe}
            echo "left over: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
            kill -KILL "$pid"
        fi
    done
}

# What podman leaves running for the rootless user: the holder of the namespaces, a container that was
# restarting at the wrong moment. The user exists for these tests only.
stop_user_processes() {
    local status
    for status in /proc/[0-9]*/status; do
        if awk -v id="$1" '/^State:/ { if ($2 == "Z") exit 1 } /^Uid:/ { exit $2 != id }' "$status" 2>/dev/null; then
            status=${status#/proc/}
            kill -KILL "${status%/status}"
        fi
    done
}

# remove_containers PODMAN…
remove_containers() {
    timeout 60 "$@" rm --all --force --time 0
    timeout 30 "$@" network prune --force
    timeout 30 "$@" volume prune --force
}

# Stops what start_engines started and removes the scratch folder. Safe to call twice.
stop_engines() {
    local pid mount docker=()
    [ -n "$scratch" ] || return 0
    {
        stop_strays
        if [ -n "${SKUPPER_TEST_PODMAN-}" ]; then remove_containers "${rootful[@]}"; fi
        if [ -n "${SKUPPER_TEST_PODMAN_ROOTLESS-}" ]; then remove_containers "${rootless[@]}"; fi
        if [ -S "$scratch/docker/docker.sock" ]; then
            docker=(docker --host "unix://$scratch/docker/docker.sock")
            "${docker[@]}" ps --all --quiet | xargs --no-run-if-empty "${docker[@]}" rm --force
            "${docker[@]}" network prune --force
        fi
        for pid in "${services[@]}"; do stop_pid "$pid" 20; done
        if [ -n "${SKUPPER_TEST_PODMAN_ROOTLESS_USER-}" ]; then stop_user_processes "$(id -u "$test_user")"; fi
        if [ -n "$made_docker_bridge" ]; then ip link delete docker0; fi
        awk -v folder="$scratch/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r |
            while read -r mount; do umount --lazy "$mount"; done
        # Files of rootless containers belong to the user's subordinate ids.
        if [ "$(id -u)" -ne 0 ]; then
            "${rootless[@]}" unshare rm -rf "$scratch/rootless/root"
            # The holder of the user's namespaces; the storage folder is a mount in there.
            if pid=$(cat "$scratch/rootless/tmp/pause.pid"); then stop_pid "$pid" 5; fi
        fi
        rm -rf "$scratch"
    } >>"$out/engines.log" 2>&1 </dev/null
    services=()
    scratch=''
    exec 9>&-
}
