"""The servers behind the chains, and the load that clients put on them."""

import json
import re
import socket
import subprocess
import time

from ports import READY_WITHIN, Ports, check_free, wait_listening
from process import BenchError, Processes, cpu_seconds, rss_mib

GIB = 1 << 30
REPLY = "a reply of 24 octets ..."
MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


def start_servers(processes, base, folder):
    """Starts the web server (one thread, 24 octets) and returns where both servers listen.

    iperf3 serves one test and ends, so it is started for each figure.
    """
    check_free(base, 100)
    ports = Ports(base, base + 1)
    config = folder / "web.cfg"
    config.write_text("""global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend web
    bind 127.0.0.1:%d
    http-request return status 200 content-type text/plain string "%s"
""" % (ports.http, REPLY))
    processes.start("web", ["haproxy", "-db", "-f", str(config)])
    wait_http(ports.http, processes)
    return ports


def wait_http(port, processes):
    """Until a request through the chain is answered in full."""
    deadline = time.monotonic() + READY_WITHIN
    last = "no answer"
    while time.monotonic() < deadline:
        processes.check_alive()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
                answer = b""
                while chunk := client.recv(4096):
                    answer += chunk
            if answer.startswith(b"HTTP/1.1 200") and answer.endswith(REPLY.encode()):
                return
            last = "an answer of %d octets" % len(answer)
        except OSError as error:
            last = str(error)
        time.sleep(0.1)
    raise BenchError("no request got through in %d s: %s" % (READY_WITHIN, last))


def measure(ports, servers, processes, pids, options):
    """Throughput, latency and cost."""
    amount, seconds = options.bytes, options.seconds
    row = {"rss_idle_mib": [rss_mib(pid) for pid in pids]}
    for streams in (1, 8):
        gbits, cost = throughput(ports, servers, processes.folder, pids, amount, streams)
        row["gbits_%d" % streams] = gbits
        row["cpu_s_per_gib_%d" % streams] = cost
    url = "http://127.0.0.1:%d/" % ports.http
    quiet = wrk(url, seconds, 1)
    many = wrk(url, seconds, 64)
    fresh = wrk(url, seconds, 16, "-H", "Connection: close")
    row["http_p50_us"] = quiet["p50_us"]
    row["http_requests_per_s"] = many["per_s"]
    row["new_connections_per_s"] = fresh["per_s"]
    row["http_errors"] = quiet["errors"] + many["errors"] + fresh["errors"]
    row["rss_after_mib"] = [rss_mib(pid) for pid in pids]
    return row


def bridge(ports, servers, processes, pids, options):
    """Throughput and cost of streams whose two ends use different framings, to the server and back."""
    row = {}
    for figure, streams, more in (("1", 1, ()), ("8", 8, ()), ("back_1", 1, ("-R",))):
        row["bridge_gbits_" + figure], row["bridge_cpu_s_per_gib_" + figure] = throughput(
            ports, servers, processes.folder, pids, options.bytes, streams, more)
    return row


def throughput(ports, servers, folder, pids, amount, streams, more=()):
    """Gbit/s at the receiver, and CPU seconds of all proxies together for each GiB (None without any)."""
    with Processes(folder) as server:
        server.start("iperf3", ["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(servers.iperf)])
        wait_listening(servers.iperf, server)
        before = cpu_seconds(pids)
        text = client(["iperf3", "-c", "127.0.0.1", "-p", str(ports.iperf), "-n", amount, "-P", str(streams), "-J",
                       *more],
                      limit=180)
        used = cpu_seconds(pids) - before
    try:
        received = json.loads(text)["end"]["sum_received"]
        octets, rate = received["bytes"], received["bits_per_second"]
    except (ValueError, KeyError) as error:
        raise BenchError("iperf3 -P %d: unexpected output: %s" % (streams, text.strip()[-300:])) from error
    if not octets:
        raise BenchError("iperf3 -P %d: nothing arrived" % streams)
    return rate / 1e9, used / (octets / GIB) if pids else None


def wrk(url, seconds, connections, *more):
    """Requests per second, median latency in microseconds, and the number of errors."""
    text = client(["wrk", "-t1", "-d%d" % seconds, "-c%d" % connections, "--latency", *more, url],
                  limit=seconds + 30)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s|m)\b", text)
    if not rate or not median:
        raise BenchError("wrk -c%d: unexpected output: %s" % (connections, text.strip()[-300:]))
    errors = 0
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if socket_errors:
        errors += sum(int(count) for count in socket_errors.groups())
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if wrong:
        errors += int(wrong.group(1))
    return {"per_s": float(rate.group(1)), "p50_us": float(median.group(1)) * MICROSECONDS[median.group(2)],
            "errors": errors}


def client(command, limit):
    """Output of a load tool, which gets `limit` seconds."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError("%s: not done after %d s" % (" ".join(command[:6]), limit)) from error
    if done.returncode != 0:
        raise BenchError("%s: status %d: %s" % (" ".join(command[:6]), done.returncode, done.stdout.strip()[-300:]))
    return done.stdout
