"""Loopback ports: which ones a chain has, whether they are free, when something listens."""

import collections
import pathlib
import socket
import time

from process import BenchError

# Where a client connects for each kind of load.
Ports = collections.namedtuple("Ports", "iperf http")

READY_WITHIN = 30  # seconds


def check_free(first, count):
    """Raises when one of the ports is in use, before anything is started."""
    for port in range(first, first + count):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise BenchError("port %d is taken, choose another --port-base" % port) from error


def wait_listening(port, processes):
    """Until a socket listens on the port. Read from /proc, since a probe would count as a client."""
    wanted = ":%04X" % port
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        processes.check_alive()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in pathlib.Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    return
        time.sleep(0.05)
    raise BenchError("nothing listens on port %d after %d s" % (port, READY_WITHIN))
