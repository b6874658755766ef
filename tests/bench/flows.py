"""Many connections at once: an echo server, and clients that hold connections or come and go.

A program of its own, so that the memory of clients and server is not that of the routers between them:
`flows.py serve PORT`, `flows.py hold PORT COUNT`, `flows.py storm PORT COUNT AT_ONCE`; `flows.py flood PORT` and
`flows.py drain PORT FAST SLOW SECONDS` for readers that keep up, or do not. It says on standard output when it is
ready or what it found, and `hold` closes its connections at the end of standard input.
"""

import errno
import resource
import select
import socket
import sys
import time

MESSAGE = b"sixteen octets. "
PATIENCE = 60  # seconds without any progress


def all_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(port):
    """Returns every octet; ends a connection when its client does."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poller = select.epoll()
    poller.register(listener.fileno(), select.EPOLLIN)
    clients = {}
    print("ready", flush=True)
    while True:
        for number, _ in poller.poll():
            if number == listener.fileno():
                while True:
                    try:
                        client, _ = listener.accept()
                    except OSError:
                        break
                    client.setblocking(False)
                    clients[client.fileno()] = client
                    poller.register(client.fileno(), select.EPOLLIN)
                continue
            client = clients[number]
            try:
                octets = client.recv(65536)
                if octets:
                    client.sendall(octets)
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            poller.unregister(number)
            clients.pop(number).close()


class Clients:
    """Connections that each send one message and wait for its return."""

    def __init__(self, port):
        self.port = port
        self.poller = select.epoll()
        self.waiting = {}

    def start(self):
        client = socket.socket()
        client.setblocking(False)
        result = client.connect_ex(("127.0.0.1", self.port))
        if result not in (0, errno.EINPROGRESS):
            client.close()
            raise OSError(result, "connect")
        self.waiting[client.fileno()] = [client, b"", False]
        self.poller.register(client.fileno(), select.EPOLLOUT)

    def step(self):
        """Yields (connection, whole): those that got their answer, or did not."""
        ready = self.poller.poll(PATIENCE)
        if not ready:
            raise SystemExit("no progress for %d s, %d connections wait" % (PATIENCE, len(self.waiting)))
        for number, _ in ready:
            entry = self.waiting[number]
            client = entry[0]
            try:
                if not entry[2]:
                    client.send(MESSAGE)
                    entry[2] = True
                    self.poller.modify(number, select.EPOLLIN)
                    continue
                octets = client.recv(len(MESSAGE))
                entry[1] += octets
                if octets and entry[1] != MESSAGE:
                    continue
            except OSError:
                entry[1] = b""
            self.poller.unregister(number)
            del self.waiting[number]
            yield client, entry[1] == MESSAGE


def hold(port, count):
    """Keeps `count` connections open."""
    clients, held, failed = Clients(port), [], 0
    while len(held) < count:
        while len(clients.waiting) < 200 and len(held) + len(clients.waiting) < count:
            clients.start()
        for client, whole in clients.step():
            if whole:
                held.append(client)
            else:
                client.close()
                failed += 1
                if failed > count:
                    raise SystemExit("%d connections failed" % failed)
    print("ready %d" % failed, flush=True)
    sys.stdin.read()
    for client in held:
        client.close()
    print("closed", flush=True)


def storm(port, count, at_once):
    """Opens and closes `count` connections in order, `at_once` at any time."""
    clients, started, done, failed, closing = Clients(port), 0, 0, 0, []
    begin = time.monotonic()
    while done + failed < count:
        while len(clients.waiting) < at_once and started < count:
            clients.start()
            started += 1
        for client, whole in clients.step():
            done, failed = done + whole, failed + (not whole)
            try:
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            closing.append(client)
        # The last ones stay for a moment, so that most see the server's end before they close.
        while len(closing) > at_once:
            closing.pop(0).close()
    print("done %d %d %.3f" % (done, failed, time.monotonic() - begin), flush=True)


def flood(port):
    """Sends to every client without end, as fast as it takes it."""
    octets = bytes(256 * 1024)
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poller = select.epoll()
    poller.register(listener.fileno(), select.EPOLLIN)
    clients = {}
    while True:
        for number, _ in poller.poll():
            if number == listener.fileno():
                client, _ = listener.accept()
                client.setblocking(False)
                clients[client.fileno()] = client
                poller.register(client.fileno(), select.EPOLLOUT)
                continue
            try:
                clients[number].send(octets)
            except BlockingIOError:
                pass
            except OSError:
                poller.unregister(number)
                clients.pop(number).close()


def drain(port, fast, slow, seconds):
    """MiB/s that the fast readers get together; each slow one takes 64 KiB once a second."""
    readers = [socket.create_connection(("127.0.0.1", port)) for _ in range(fast)]
    laggards = [socket.create_connection(("127.0.0.1", port)) for _ in range(slow)]
    buffer = bytearray(1 << 20)
    total, warm = 0, False
    begin = next_sip = time.monotonic()
    while (now := time.monotonic()) < begin + seconds:
        # The first third is for the slow ones to fill what they fill.
        if not warm and now > begin + seconds / 3:
            total, warm, counted = 0, True, now
        for reader in select.select(readers, [], [], 0.1)[0]:
            total += reader.recv_into(buffer)
        if now >= next_sip:
            next_sip = now + 1
            for laggard in select.select(laggards, [], [], 0)[0] if laggards else ():
                laggard.recv(64 * 1024)
    print("%.1f" % (total / (1 << 20) / (time.monotonic() - counted)), flush=True)


def main(mode, port, *numbers):
    all_descriptors()
    {"serve": serve, "hold": hold, "storm": storm, "flood": flood, "drain": drain}[mode](int(port), *map(int, numbers))


if __name__ == "__main__":
    main(*sys.argv[1:])
