"""Child processes: started with their output in files, watched, and always stopped again by pid."""

import ctypes
import os
import pathlib
import signal
import subprocess

PR_SET_PDEATHSIG = 1
TICKS = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None)


class BenchError(Exception):
    """A measurement could not be made; the text says which and why."""


def _die_with_parent():
    # A killed bench must not leave routers behind.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Processes:
    """The processes of one `with` block; leaving it stops them, last started first."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _, process, _ in reversed(self.running):
            process.terminate()
        for _, process, _ in reversed(self.running):
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name, command, environment=None):
        """Starts `command` and returns its pid; output goes to NAME.log in the folder."""
        log = self.folder / (name + ".log")
        with open(log, "ab") as output:
            try:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                           env=environment, preexec_fn=_die_with_parent)
            except OSError as error:
                raise BenchError("%s: %s: %s" % (name, command[0], error.strerror)) from error
        self.running.append((name, process, log))
        return process.pid

    def check_alive(self):
        """Raises when one of the processes has ended, with the end of what it said."""
        for name, process, log in self.running:
            if process.poll() is not None:
                said = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise BenchError("%s ended with status %d: %.300s" % (name, process.returncode, " ".join(said)))


def cpu_seconds(pids):
    """User and system time of the processes with all their threads so far."""
    total = 0
    for pid in pids:
        # The name, in brackets, may hold spaces; the fields after it are counted from the third on.
        fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_mib(pid):
    """Resident memory of one process."""
    for line in pathlib.Path("/proc/%d/status" % pid).read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
