"""Flows that something holds back: a long path, or readers that do not keep up."""

import json
import pathlib
import subprocess
import sys

import load
import memory
from ports import wait_listening
from process import BenchError, Processes, rss_mib

RELAY = pathlib.Path(__file__).with_name("relay.py")
ROUND_TRIP = 50  # milliseconds
MEGABITS = 1000
FAST, SLOW = 2, 16


def relay(processes, first_port):
    """A function that puts a long path in front of a port and returns the port to use instead."""
    used = iter(range(first_port, first_port + 4))

    def through(target):
        port = next(used)
        processes.start("relay-%d" % port, [sys.executable, "-B", str(RELAY), str(port), str(target),
                                            str(ROUND_TRIP / 2), str(MEGABITS)])
        wait_listening(port, processes)
        return port
    return through


def long_path(ports, servers, processes, pids, options):
    """One stream over the path, without its first two seconds."""
    with Processes(processes.folder) as server:
        server.start("iperf3", ["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(servers.iperf)])
        wait_listening(servers.iperf, server)
        text = load.client(["iperf3", "-c", "127.0.0.1", "-p", str(ports.iperf), "-t", "8", "-O", "2", "-J"], limit=60)
    try:
        rate = json.loads(text)["end"]["sum_received"]["bits_per_second"]
    except (ValueError, KeyError) as error:
        raise BenchError("iperf3: unexpected output: %s" % text.strip()[-300:]) from error
    return {"path_percent": rate / MEGABITS / 1e4, "rss_path_mib": [rss_mib(pid) for pid in pids]}


def slow_readers(ports, servers, processes, pids, _options):
    """What readers that do not keep up cost those that do, and the proxies."""
    with Processes(processes.folder) as helpers:
        helpers.start("flood", [sys.executable, "-B", str(memory.FLOWS), "flood", str(servers.iperf)])
        wait_listening(servers.iperf, helpers)
        alone = _drain(ports, 0)
        beside = _drain(ports, SLOW)
        return {"fast_mib_s": alone, "slow_cost_percent": max(0.0, 100 * (1 - beside / alone)),
                "rss_slow_mib": [rss_mib(pid) for pid in pids]}


def _drain(ports, slow):
    """MiB/s of the fast readers together."""
    said = subprocess.run([sys.executable, "-B", str(memory.FLOWS), "drain", str(ports.iperf), str(FAST), str(slow),
                           "6"], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    if said.returncode != 0:
        raise BenchError("the readers ended with status %d" % said.returncode)
    return float(said.stdout)
