"""Memory of the proxies: with many idle flows, and after a storm of short ones."""

import pathlib
import subprocess
import sys
import time

import load
from process import BenchError, Processes, rss_mib

FLOWS = pathlib.Path(__file__).with_name("flows.py")
HELD = 10_000
STORM = 100_000
AT_ONCE = 200
SETTLE = 15  # seconds that a proxy has to give memory back


def flows(ports, servers, processes, pids, options):
    """Figures with idle flows through the chain, and after they are gone."""
    held = options.flows
    idle = [rss_mib(pid) for pid in pids]
    with Processes(processes.folder) as helpers:
        serve(helpers, servers)
        client = subprocess.Popen([sys.executable, "-B", str(FLOWS), "hold", str(ports.iperf), str(held)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            _expect(client, "ready")
            time.sleep(3)
            full = [rss_mib(pid) for pid in pids]
            client.stdin.close()
            _expect(client, "closed")
        finally:
            client.kill()
            client.wait()
        after = settled(pids, idle)
    return {"rss_idle_mib": idle, "rss_flows_mib": full, "rss_flows_after_mib": after,
            "kib_per_flow": [(most - least) * 1024 / held for most, least in zip(full, idle)]}


def storm(ports, servers, processes, pids, options):
    """Figures after many connections that came and went."""
    count = options.storm
    idle = [rss_mib(pid) for pid in pids]
    with Processes(processes.folder) as helpers:
        serve(helpers, servers)
        text = load.client([sys.executable, "-B", str(FLOWS), "storm", str(ports.iperf), str(count), str(AT_ONCE)],
                           limit=600)
        done, failed, seconds = text.split()[1:4]
        after = settled(pids, idle)
    if int(done) < count * 0.99:
        raise BenchError("only %s of %d connections were served" % (done, count))
    return {"rss_idle_mib": idle, "rss_storm_mib": after, "storm_failed": int(failed),
            "storm_per_s": int(done) / float(seconds)}


def settled(pids, idle):
    """Resident memory once it is back near `idle`, at the latest after [`SETTLE`] seconds."""
    deadline = time.monotonic() + SETTLE
    while True:
        now = [rss_mib(pid) for pid in pids]
        if time.monotonic() > deadline or all(new <= 1.2 * old for new, old in zip(now, idle)):
            return now
        time.sleep(0.5)


def serve(helpers, servers):
    """Starts the echo server in place of iperf3."""
    helpers.start("echo", [sys.executable, "-B", str(FLOWS), "serve", str(servers.iperf)])
    load.wait_listening(servers.iperf, helpers)


def _expect(process, word):
    line = process.stdout.readline()
    if not line.startswith(word):
        raise BenchError("the clients said %r instead of %s" % (line.strip(), word))
