"""A long path: forwards connections, each octet later by a delay and all together no faster than a rate.

`relay.py LISTEN_PORT TARGET_PORT DELAY_MILLISECONDS MEGABITS`. Delay and rate hold for each direction. What does not
fit on the path waits in the sender's socket, as it would for a full modem; 10 ms of octets may queue in front.
"""

import collections
import select
import socket
import sys
import time

QUEUE = 0.010
CHUNK = 128 * 1024


class Direction:
    """One direction of the path, shared by all connections."""

    def __init__(self, delay, rate):
        self.delay = delay
        self.rate = rate
        self.free_at = 0.0

    def is_full(self, now):
        return self.free_at > now + QUEUE

    def due(self, count, now):
        """When octets that are read now come out at the other end."""
        self.free_at = max(self.free_at, now) + count / self.rate
        return self.free_at + self.delay


class Half:
    """Octets of one connection on their way in one direction."""

    def __init__(self, direction, source, sink):
        self.direction, self.source, self.sink = direction, source, sink
        self.flying = collections.deque()
        self.ended = False
        self.shut = False

    def step(self, now):
        """Moves what can be moved; False when this half is over."""
        while not self.ended and not self.direction.is_full(now):
            try:
                octets = self.source.recv(CHUNK)
            except BlockingIOError:
                break
            self.ended = not octets
            self.flying.append((self.direction.due(len(octets), now), memoryview(octets)))
        while self.flying and self.flying[0][0] <= now:
            due, octets = self.flying[0]
            if octets:
                try:
                    count = self.sink.send(octets)
                except BlockingIOError:
                    break
                if count < len(octets):
                    self.flying[0] = (due, octets[count:])
                    break
            else:
                self.sink.shutdown(socket.SHUT_WR)
                self.shut = True
            self.flying.popleft()
        return not self.shut


def prepare(connection):
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def main(listen, target, delay, megabits):
    directions = [Direction(float(delay) / 1000, float(megabits) * 1e6 / 8) for _ in range(2)]
    listener = socket.create_server(("127.0.0.1", int(listen)))
    listener.setblocking(False)
    pairs = []
    while True:
        flying = any(half.flying or half.direction.is_full(time.monotonic()) for pair in pairs for half in pair)
        sources = [half.source for pair in pairs for half in pair if not half.ended]
        # While octets fly, a millisecond is near enough to their time.
        if flying:
            time.sleep(0.001)
        else:
            select.select([listener, *sources], [], [])
        try:
            client, _ = listener.accept()
            server = prepare(socket.create_connection(("127.0.0.1", int(target)), timeout=5))
            prepare(client)
            pairs.append((Half(directions[0], client, server), Half(directions[1], server, client)))
        except BlockingIOError:
            pass
        except OSError:
            client.close()
        for pair in list(pairs):
            try:
                now = time.monotonic()
                # Both halves move, whatever the first one says.
                if any([half.step(now) for half in pair]):
                    continue
            except OSError:
                pass
            for half in pair:
                half.source.close()
            pairs.remove(pair)


if __name__ == "__main__":
    main(*sys.argv[1:])
