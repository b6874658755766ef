"""Throughput, latency and cost of chains of two proxies, measured side by side.

Each chain is: client -> first proxy -> mutual TLS 1.3 -> second proxy -> server. Rounds are interleaved
(every chain once per round, freshly started) and the result is the median, because one machine's speed
drifts more between minutes than chains differ.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import chains
import load
import memory
import paths
import report
from process import BenchError, Processes

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What can be measured in a chain; each gets the chain's ports, the servers' ports, processes, pids and options.
ROWS = {
    "load": load.measure,
    "bridge": load.bridge,
    "flows": memory.flows,
    "storm": memory.storm,
    "path": paths.long_path,
    "slow": paths.slow_readers,
}
# Rows with a long path between the two proxies.
DISTANT = {"path"}
# Rows whose client side speaks another framing than the server side: only chains that translate have them.
FRAMINGS = {"bridge": ("legacy", "lite")}


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="""environment:
  SKUPPER_BIN                      binary to measure instead of building the release one
  SKROUTERD_24, _27, _35           other routers to measure (programs that take -c FILE)
  SKROUTERD_24_LIBS, ...           library path for each, put before LD_LIBRARY_PATH""")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each chain (default 5)")
    parser.add_argument("--chains", metavar="NAME,...", help="of: " + ", ".join(chains.NAMES) +
                        " (default: all that can run; first is measured first)")
    parser.add_argument("--rows", metavar="NAME,...", default="load",
                        help="of: %s (default: load)" % ", ".join(ROWS))
    parser.add_argument("--flows", type=int, default=memory.HELD, help="idle flows of row flows")
    parser.add_argument("--storm", type=int, default=memory.STORM, help="connections of row storm")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    parser.add_argument("--bytes", default="1G", help="sent for each throughput figure, as iperf3 -n takes it")
    parser.add_argument("--seconds", type=int, default=3, help="length of each HTTP figure")
    parser.add_argument("--port-base", type=int, default=28000, help="first of 100 loopback ports to use")
    parser.add_argument("--logs", type=pathlib.Path, help="keep configurations and logs in this folder")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 100 or not 1 <= options.seconds <= 60:
        parser.error("--rounds must be 1 to 100, --seconds 1 to 60")
    options.rows = options.rows.split(",")
    for row in options.rows:
        if row not in ROWS:
            parser.error('there is no row "%s"' % row)
    if not 1024 <= options.port_base <= 65435:
        parser.error("--port-base must be 1024 to 65435")
    return options


def release_binary():
    """Path of our binary; builds it unless SKUPPER_BIN names one."""
    given = os.environ.get("SKUPPER_BIN")
    if given:
        return given
    cargo = shutil.which("cargo") or os.path.expanduser("~/.cargo/bin/cargo")
    build = subprocess.run(
        [cargo, "build", "--locked", "--release", "--package", "skupper", "--bin", "skupper",
         "--message-format", "json-render-diagnostics"],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if build.returncode != 0:
        raise BenchError("cargo build --release ended with status %d" % build.returncode)
    for line in build.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("target", {}).get("name") == "skupper":
            return message["executable"]
    raise BenchError("cargo build --release named no executable")


def surroundings():
    """What a reader needs to judge the numbers."""
    def first_line(*command):
        try:
            text = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  check=True, text=True, timeout=10, cwd=ROOT).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None
        return text.splitlines()[0] if text else None
    model = None
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": first_line("git", "describe", "--always", "--dirty", "--abbrev=12"),
        "cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
        "load_average_at_start": os.getloadavg()[0],
        "haproxy": first_line("haproxy", "-v"), "iperf3": first_line("iperf3", "--version"),
        "openssl": first_line("openssl", "version"),
    }


def progress(text):
    print("[%4ds] %s" % (time.monotonic() - STARTED, text), file=sys.stderr, flush=True)


def measure(chain, options, folder, servers):
    """One round of one chain: started for each row and stopped after it, so that no row sees another's traces.

    Its figures, and why rows have none.
    """
    figures, failures = {}, []
    for name in options.rows:
        if name in FRAMINGS and not chain.translates:
            continue
        try:
            if name == "flows":
                chain.check_holds(options.flows)
            with Processes(folder) as processes:
                distance = paths.relay(processes, options.port_base + 90) if name in DISTANT else lambda port: port
                ports = chain.start(processes, servers, distance, FRAMINGS.get(name))
                load.wait_http(ports.http, processes)
                row = ROWS[name](ports, servers, processes, chain.pids(), options)
                processes.check_alive()
            figures.update(row)
        except BenchError as error:
            failures.append("row %s: %s" % (name, error))
    return figures, failures


def run(options, folder):
    known = chains.available(options, folder, release_binary)
    names = options.chains.split(",") if options.chains else list(known)
    for name in names:
        if name not in known:
            raise BenchError('chain "%s" cannot run: %s' % (name, chains.requirement(name)))
    result = {"surroundings": surroundings(),
              "settings": {"rounds": options.rounds, "rows": options.rows, "bytes": options.bytes, "seconds": options.seconds},
              "chains": {name: {"title": known[name].title, "rounds": [], "failures": []} for name in names}}
    with Processes(folder) as backends:
        servers = load.start_servers(backends, options.port_base, folder)
        for number in range(1, options.rounds + 1):
            for name in names:
                entry = result["chains"][name]
                round_folder = folder / ("%s-%d" % (name, number))
                round_folder.mkdir()
                row, failures = measure(known[name], options, round_folder, servers)
                for failure in failures:
                    entry["failures"].append(failure)
                    progress("round %d of %d, %s: FAILED: %s" % (number, options.rounds, name, failure))
                if row:
                    entry["rounds"].append(row)
                    progress("round %d of %d, %s: %s" % (number, options.rounds, name, report.brief(row)))
    report.summarise(result)
    return result


def main():
    options = arguments()
    # So that `finally` and `with` run, which stop what was started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda signum, _: sys.exit(128 + signum))
    folder = options.logs
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=folder))
    else:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="skupper-bench-"))
    try:
        result = run(options, folder)
    except BenchError as error:
        print("bench: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if not options.logs:
            shutil.rmtree(folder, ignore_errors=True)
    if options.output == "json":
        json.dump(result, sys.stdout, indent=2)
        print()
    else:
        print(report.table(result))
    return 1 if any(chain["failures"] for chain in result["chains"].values()) else 0


STARTED = time.monotonic()
sys.exit(main())
