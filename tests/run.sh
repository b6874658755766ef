#!/usr/bin/env bash
# All tests with one command, on a fresh Debian machine with Rust: see `tests/run.sh --help`.
set -uo pipefail

usage() {
    cat <<'TEXT'
Usage: tests/run.sh [STAGE…]
       tests/run.sh env -- COMMAND [ARGUMENT…]

Without a stage, runs all of them in this order:
  packages   Debian packages that the other stages need (installed when root, else named)
  lint       cargo fmt --check, cargo clippy with warnings as errors
  deny       bans, licences and sources of dependencies (cargo-deny)
  build      the release binary
  unit       unit, property, integration and documentation tests of every crate
  e2e        end-to-end tests: real processes, podman (rootful, rootless), docker, AMQP peers
`env` starts the engines as for e2e, runs COMMAND with the same environment, and stops them.

Environment:
  SKROUTERD_24, SKROUTERD_27, SKROUTERD_35 (and …_LIBS)   other routers to interoperate with in e2e
  SKUPPER_TEST_SKTOOLS   directory with their tools in e2e: skstat-24, skmanage-24, and so on
  SKUPPER_BIN              a binary to use in e2e instead of building one
  SKUPPER_TEST_DOCKER      endpoint of a docker engine to use instead of one started here
  SKUPPER_TEST_TIMEOUT     limit of the unit and of the e2e stage, in seconds each (default 1500)

Logs: tests/out/STAGE.log. Exit status 0 only if everything passed.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 70
out=$root/tests/out
readonly root out
readonly all_stages=(packages lint deny build unit e2e)
cd "$root" || exit 70

# shellcheck source=tests/lib/report.sh
source tests/lib/report.sh
# shellcheck source=tests/lib/packages.sh
source tests/lib/packages.sh
# shellcheck source=tests/lib/engines.sh
source tests/lib/engines.sh

# Prints the path of the binary to test; builds it when it is missing or old.
release_binary() {
    if [ -n "${SKUPPER_BIN-}" ]; then
        echo "$SKUPPER_BIN"
        return
    fi
    cargo build --locked --release --package skupper --bin skupper \
        --message-format json-render-diagnostics |
        jq -r 'select(.reason == "compiler-artifact" and .target.name == "skupper") | .executable // empty'
}

# Arguments that choose the test targets that need engines ($1 = engines: package `e2e` and the engine
# contract in `runtime`) or all other integration tests ($1 = others). Every cargo call selects the whole
# workspace: a smaller selection would unify fewer features and compile tokio and all above it once more.
test_targets() {
    cargo metadata --locked --no-deps --format-version 1 | jq -r --arg which "$1" '
        .packages[]
        | select((.name == "e2e" or .name == "runtime") == ($which == "engines"))
        | .targets[] | select(.kind == ["test"]) | "--test\n" + .name'
}

cargo_test() {
    timeout --kill-after=20 "${SKUPPER_TEST_TIMEOUT:-1500}" \
        cargo test --locked --workspace --no-fail-fast "$@" 9>&-
}

# With rootless podman in the place of root's.
rootless_cargo_test() {
    SKUPPER_TEST_PODMAN=$SKUPPER_TEST_PODMAN_ROOTLESS cargo_test "$@"
}

stage_packages() {
    check packages install_packages "${build_packages[@]}" "${engine_packages[@]}"
}

stage_lint() {
    check fmt cargo fmt --all --check
    check clippy cargo clippy --locked --workspace --all-targets -- -D warnings
}

stage_deny() {
    local tool
    if ! tool=$(cargo_deny); then
        fail deny "cargo-deny could not be installed: see $out/tools.log"
        return
    fi
    check deny "$tool" --locked check bans licenses sources
}

stage_build() {
    check build release_binary
}

stage_unit() {
    local targets
    mapfile -t targets < <(test_targets others)
    tests unit cargo_test --lib --bins "${targets[@]}" -- --show-output
    tests doc cargo_test --doc
}

stage_e2e() {
    local targets second_chances=2
    if ! start_engines >"$out/engines.log" 2>&1; then
        fail engines "see $out/engines.log" "$out/engines.log"
        return
    fi
    grep '^engine: ' "$out/engines.log" | while read -r line; do say "$line"; done
    mapfile -t targets < <(test_targets engines)
    if [ ${#targets[@]} -eq 0 ]; then
        fail e2e "no test targets in the packages e2e and runtime"
    else
        tests e2e cargo_test "${targets[@]}" -- --show-output
        # The engine contract once more. One test at a time: aardvark-dns 1.4 answers late when several networks
        # come and go in one user's namespace.
        tests podman-rootless rootless_cargo_test --test podman -- --show-output --test-threads 1
    fi
    stop_engines
}

run_in_environment() {
    start_engines >"$out/engines.log" 2>&1 || {
        cat "$out/engines.log" >&2
        exit 69
    }
    "$@"
}

main() {
    local stage stages=("$@")
    case ${1-} in
    -h | --help)
        usage
        exit 0
        ;;
    esac
    mkdir -p "$out"
    find_cargo || exit 69
    trap stop_engines EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    if [ "${1-}" = env ]; then
        shift
        [ "${1-}" = -- ] && shift
        [ $# -gt 0 ] || {
            usage >&2
            exit 64
        }
        run_in_environment "$@"
        exit
    fi
    [ ${#stages[@]} -gt 0 ] || stages=("${all_stages[@]}")
    for stage in "${stages[@]}"; do
        if ! declare -F "stage_$stage" >/dev/null; then
            printf 'unknown stage "%s"; stages are: %s\n' "$stage" "${all_stages[*]}" >&2
            exit 64
        fi
    done
    for stage in "${stages[@]}"; do
        say "== $stage"
        "stage_$stage"
    done
    summary
}

main "$@"
