# shellcheck shell=bash
# Progress, logs and the count of what passed. Sourced by tests/run.sh; wants $out.

passed=0 failed=0 skipped=0
results=()

elapsed() { printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); }

say() { printf '[%7s] %s\n' "$(elapsed "$SECONDS")" "$*"; }

# fail NAME REASON [LOG]: one failed check, with the end of its log.
fail() {
    failed=$((failed + 1))
    results+=("$1: failed")
    say "$1: FAILED: $2"
    if [ $# -gt 2 ]; then tail -n 120 "$3"; fi
}

# check NAME COMMAND…: a command that counts as one check.
check() {
    local name=$1 start=$SECONDS log=$out/$1.log
    shift
    say "$name: ${*:1:6}"
    if "$@" >"$log" 2>&1 </dev/null; then
        passed=$((passed + 1))
        results+=("$name: ok, $(elapsed $((SECONDS - start)))")
        say "$name: ok ($(elapsed $((SECONDS - start))))"
    else
        fail "$name" "exit status $?, log $log" "$log"
    fi
}

# Shows what a long test run is at, while the whole output goes to the log.
test_progress() {
    awk '
        /^ +(Running|Doc-tests) / { sub(/^ +/, ""); sub(/ \(.*/, ""); print; fflush() }
        /^test .* \.\.\. FAILED$/ { print; fflush() }
        /^test .* has been running for over/ { print; fflush() }
        /^(SKIP|did not run): / { print; fflush() }
        /^test result: / && !/ 0 passed; 0 failed; 0 ignored/ { print "  " $0; fflush() }
    ' | while IFS= read -r line; do say "$line"; done
}

# failed_tests LOG: a line `TARGET TEST` for each test that failed.
failed_tests() {
    awk '
        /^ +Running tests\// { target = $2; sub(/\/main\.rs$/, "", target); sub(/.*\//, "", target); sub(/\.rs$/, "", target) }
        /^test .* \.\.\. FAILED$/ { print target, $2 }' "$1"
}

# pass_alone NAME LOG RUNNER: whether each test that failed passes when RUNNER, which takes the arguments of
# `cargo test`, runs it once more, alone; says which did. Not if a whole target ended before its tests did.
pass_alone() {
    local name=$1 again=$out/$1-again.log target test
    if [ "$(grep -cE '^ +Running ' "$2")" -ne "$(grep -c '^test result: ' "$2")" ]; then return 1; fi
    while read -r target test; do
        say "$name: once more, alone: $test"
        "$3" --test "$target" -- --exact "$test" --show-output >"$again" 2>&1 </dev/null
        if ! grep -q "^test $test \.\.\. ok$" "$again"; then return 1; fi
        results+=("$name: FLAKY: $test failed, and passed alone")
    done < <(failed_tests "$2")
}

# tests NAME COMMAND…: a command that prints what `cargo test` prints; its tests are counted one by one.
# A test that cannot run on this machine prints a line `did not run: reason` and counts as skipped.
# With $second_chances, that many tests may fail if each passes when it runs alone: they share the machine with
# engines and with each other. Their output is shown all the same, and the summary names them.
tests() {
    local name=$1 start=$SECONDS log=$out/$1.log status p f i s
    shift
    say "$name: ${*:1:4}"
    "$@" </dev/null 2>&1 | tee "$log" | test_progress
    status=${PIPESTATUS[0]}
    read -r p f i s < <(awk '
        /^test result: / { p += $4; f += $6; i += $8 }
        /^(SKIP|did not run): / { s++ }
        END { print p + 0, f + 0, i + 0, s + 0 }' "$log")
    if [ "$f" -gt 0 ]; then show_failures "$log"; fi
    # 101: all ran, and some failed
    if [ "$status" -eq 101 ] && [ "$f" -gt 0 ] && [ "$f" -le "${second_chances:-0}" ] &&
        pass_alone "$name" "$log" "$1"; then
        p=$((p + f)) f=0 status=0
    fi
    passed=$((passed + p - s)) failed=$((failed + f)) skipped=$((skipped + i + s))
    if [ "$status" -eq 0 ]; then
        results+=("$name: ok, $((p - s)) passed, $((i + s)) skipped, $(elapsed $((SECONDS - start)))")
        say "$name: ok ($(elapsed $((SECONDS - start))))"
        return
    fi
    # Not a test but the build or the time limit failed: count that, or the summary would look clean.
    if [ "$f" -eq 0 ]; then failed=$((failed + 1)); fi
    results+=("$name: failed")
    if [ "$status" -eq 124 ]; then say "$name: ran into the time limit"; fi
    say "$name: FAILED, log $log"
    if [ "$f" -eq 0 ]; then tail -n 80 "$log"; fi
}

show_failures() {
    awk '/^failures:$/ { show = 1 } /^test result: / { show = 0 } show' "$1" | tail -n 200
}

# Last line of the run; the exit status says the same.
summary() {
    local line
    say "== summary"
    for line in "${results[@]}"; do say "$line"; done
    printf 'tests: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
