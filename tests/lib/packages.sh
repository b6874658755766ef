# shellcheck shell=bash
# What the suite needs from the machine: Debian packages, Rust, pinned cargo tools.
# Sourced by tests/run.sh; wants $out.

# To build and to report. libc6-dev brings libc.a: the binary is linked statically.
readonly build_packages=(ca-certificates gcc jq libc6-dev)

# For e2e: engines and what they need rootless, an independent AMQP client, load tools.
readonly engine_packages=(
    podman slirp4netns uidmap fuse-overlayfs netavark aardvark-dns runc crun
    docker.io systemd systemd-container dbus-user-session polkitd iptables iproute2 nftables procps util-linux
    curl openssl python3 python3-qpid-proton
    haproxy iperf3 wrk valgrind
)

readonly cargo_deny_version=0.20.2

missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

# install_packages NAME…: installs those that are missing, or says exactly how to.
install_packages() {
    local missing
    if ! command -v dpkg-query >/dev/null; then
        echo "not a Debian machine: make sure of the equivalents of: $*"
        return 0
    fi
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages; as root, run:"
        echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=300 -qq update &&
        apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends "${missing[@]}"
}

find_cargo() {
    command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
    if ! cargo --version >/dev/null 2>&1; then
        echo "cargo is not installed: install Rust 1.95 or newer with rustfmt and clippy (https://rustup.rs)" >&2
        return 1
    fi
    if ! command -v jq >/dev/null; then install_packages "${build_packages[@]}" >"$out/packages.log" 2>&1; fi
}

# Prints the path of cargo-deny in the pinned version, installing it in a cache folder when absent.
cargo_deny() {
    local folder=${XDG_CACHE_HOME:-$HOME/.cache}/skupper-tests/cargo-deny-$cargo_deny_version
    local candidate
    for candidate in cargo-deny "$folder/bin/cargo-deny"; do
        if [ "$("$candidate" --version 2>/dev/null)" = "cargo-deny $cargo_deny_version" ]; then
            echo "$candidate"
            return 0
        fi
    done
    # Run from outside the workspace, whose .cargo/config.toml is for the product only. An unoptimised
    # build takes a third of the time, and the check itself stays under a second.
    (cd / && cargo install cargo-deny --version "$cargo_deny_version" --locked \
        --no-default-features --profile dev --root "$folder") >"$out/tools.log" 2>&1 </dev/null || return 1
    echo "$folder/bin/cargo-deny"
}
