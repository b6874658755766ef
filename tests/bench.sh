#!/usr/bin/env bash
# Compares the router with no proxy, TLS tunnels and other routers, side by side in one run:
# see `tests/bench.sh --help`. Everything stays on the loopback interface.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wanted=(python3 openssl haproxy iperf3 wrk)

missing=()
for program in "${wanted[@]}"; do
    # Debian keeps haproxy in a folder that is not on an ordinary user's path.
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "missing programs: ${missing[*]}" >&2
    echo "on Debian, as root: apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 69
fi
PATH=$PATH:/usr/sbin exec python3 -B "$root/tests/bench" "$@"
