"""AMQP clients of an independent implementation on the routers of a ring: who gets which message.

Usage: distribution.py CASE URL...     (the routers r0, r1, … in turn)

Exit status 0 if everything was as it should be; else the traceback says what was not.
"""

import sys
import threading

from proton import Delivery, Message, Timeout
from proton.handlers import IncomingMessageHandler

from clients import LIMIT, connect, query


class Held(IncomingMessageHandler):
    """Keeps what arrives without an answer."""

    def __init__(self):
        super().__init__(auto_accept=False)
        self.deliveries = []
        self.bodies = []

    def on_message(self, event):
        self.deliveries.append(event.delivery)
        self.bodies.append(event.message.body)


class Consumer:
    """A receiver that keeps its messages unsettled until it is told to answer them."""

    def __init__(self, url, address):
        self.connection = connect(url)
        self.held = Held()
        self.receiver = self.connection.create_receiver(address, credit=100, handler=self.held)

    def holds(self, count):
        try:
            self.connection.wait(lambda: len(self.held.deliveries) >= count, timeout=LIMIT)
        except Timeout:
            raise AssertionError(f"{self.held.bodies}, not {count}") from None
        # Whatever should not have come would be here before the answer to a question that is asked now.
        exchange(self.connection)
        found = len(self.held.deliveries)
        assert found == count, f"{found} messages, not {count}"

    def accept(self, count):
        for delivery in self.held.deliveries[:count]:
            delivery.update(Delivery.ACCEPTED)
            delivery.settle()
        del self.held.deliveries[:count]
        exchange(self.connection)

    def close(self):
        self.connection.close()


def exchange(connection):
    """Sends what is queued, and has an answer to something that was sent behind it."""
    query(connection, "$management", "io.skupper.router.router", ["id"])


def until_counts(url, address, local, remote):
    """Waits until a router knows that many receivers of its own and that many other routers with some."""
    connection = connect(url)
    found = None
    for _ in range(600):
        rows = query(connection, "$management", "io.skupper.router.router.address")
        found = [(row["subscriberCount"], row["remoteCount"]) for row in rows if row["key"] == "M" + address]
        if (found or [(0, 0)])[0] == (local, remote):
            break
        threading.Event().wait(0.05)
    else:
        raise AssertionError(f"{address}: {found}, not {(local, remote)}")
    connection.close()


def closest(*urls):
    """The nearest receiver gets everything, then the next one, and the nearest one again when it is back."""
    address = "closest.orders"
    consumers = [Consumer(url, address) for url in urls[:3]]
    connection = connect(urls[0])
    sender = connection.create_sender(address)

    def sent_to(consumer):
        deliveries = [sender.link.send(Message(body=number)) for number in range(10)]
        exchange(connection)
        consumer.holds(10)
        consumer.accept(10)
        connection.wait(lambda: all(delivery.settled for delivery in deliveries), timeout=LIMIT)
        assert all(delivery.remote_state == Delivery.ACCEPTED for delivery in deliveries)

    until_counts(urls[0], address, 1, 2)
    connection.wait(lambda: sender.link.credit >= 10, timeout=LIMIT)
    # More than a link's credit are open in no case: distance decides, not load.
    for index, left in ((0, (0, 2)), (1, (0, 1)), (2, None)):
        sent_to(consumers[index])
        if left:
            consumers[index].close()
            until_counts(urls[0], address, *left)
    for index, known in ((1, (0, 2)), (0, (1, 2))):
        consumers[index] = Consumer(urls[index], address)
        until_counts(urls[0], address, *known)
        sent_to(consumers[index])
    connection.close()


def balanced(*urls):
    """The cost of the way to a receiver counts like as many unsettled messages. The way to r1 costs 3."""
    address = "balanced.orders"
    near, far = Consumer(urls[0], address), Consumer(urls[1], address)
    connection = connect(urls[0])
    sender = connection.create_sender(address)
    until_counts(urls[0], address, 1, 1)
    connection.wait(lambda: sender.link.credit >= 30, timeout=LIMIT)

    def send(count):
        for number in range(count):
            sender.link.send(Message(body=number))
        exchange(connection)

    send(3)
    near.holds(3)
    far.holds(0)
    send(10)
    near.holds(8)
    far.holds(5)
    # What is settled does not count any more.
    near.accept(8)
    send(6)
    near.holds(6)
    far.holds(5)
    # The one that is left gets everything.
    near.close()
    until_counts(urls[0], address, 0, 1)
    send(4)
    far.holds(9)
    far.accept(9)
    connection.close()


def multicast(*urls):
    """Each receiver gets each message once, whichever way around the ring it came."""
    address = "multicast.news"
    # Two at the last router: its copy is made there.
    places = [*urls, urls[-1]]
    count = 15
    wanted = list(range(count * len(urls)))
    consumers = [Consumer(url, address) for url in places]
    for url in urls:
        until_counts(url, address, places.count(url), len(urls) - 1)
    deliveries = []
    for index, url in enumerate(urls):
        connection = connect(url)
        sender = connection.create_sender(address)
        connection.wait(lambda: sender.link.credit >= count, timeout=LIMIT)
        sent = [sender.link.send(Message(body=number)) for number in wanted[index * count :][:count]]
        exchange(connection)
        deliveries.append((connection, sent))
    for consumer in consumers:
        consumer.holds(len(wanted))
        assert sorted(consumer.held.bodies) == wanted, consumer.held.bodies
        consumer.accept(len(wanted))
    for connection, sent in deliveries:
        connection.wait(lambda: all(delivery.settled for delivery in sent), timeout=LIMIT)
        assert all(delivery.remote_state == Delivery.ACCEPTED for delivery in sent)
        connection.close()
    for consumer in consumers:
        consumer.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print(f"{sys.argv[1]}: as it should be")
