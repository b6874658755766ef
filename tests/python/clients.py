"""AMQP clients of an independent implementation, one on each of two linked routers.

Usage: clients.py CASE SENDER_URL RECEIVER_URL

Exit status 0 if everything was as it should be; else the traceback says what was not.
"""

import hashlib
import sys
import threading

from proton import Delivery, Message, Timeout, symbol
from proton.reactor import AtMostOnce, SenderOption
from proton.utils import BlockingConnection, LinkDetached, SendException

LIMIT = 20


class Side(threading.Thread):
    """Runs a function beside the main thread and hands its result or error over."""

    def __init__(self, work, *arguments):
        super().__init__(daemon=True)
        self.work, self.arguments = work, arguments
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.work(*self.arguments)
        except BaseException as error:
            self.error = error

    def result(self):
        self.join(LIMIT)
        assert not self.is_alive(), "still at work"
        if self.error:
            raise self.error
        return self.value


def connect(url):
    return BlockingConnection(url, timeout=LIMIT, allowed_mechs="ANONYMOUS")


def receive(url, address, count, answer, ready=None, credit=10):
    connection = connect(url)
    receiver = connection.create_receiver(address, credit=credit)
    if ready:
        ready.set()
    messages = []
    for _ in range(count):
        messages.append(receiver.receive(timeout=LIMIT))
        answer(receiver)
    connection.close()
    return messages


def sender_outcome(sender, message):
    try:
        return sender.send(message, timeout=LIMIT).remote_state
    except SendException as refused:
        return refused.state


def outcomes(sender_url, receiver_url):
    """Every outcome of the receiver is told to the sender."""
    answers = {
        Delivery.ACCEPTED: lambda receiver: receiver.accept(),
        Delivery.REJECTED: lambda receiver: receiver.reject(),
        Delivery.RELEASED: lambda receiver: receiver.release(delivered=False),
        Delivery.MODIFIED: lambda receiver: receiver.release(delivered=True),
    }
    for wanted, answer in answers.items():
        address = f"outcome.{int(wanted)}"
        side = Side(receive, receiver_url, address, 3, answer)
        connection = connect(sender_url)
        sender = connection.create_sender(address)
        for number in range(3):
            state = sender_outcome(sender, Message(body=number))
            assert state == wanted, f"wanted {wanted}, got {state}"
        assert [message.body for message in side.result()] == [0, 1, 2]
        connection.close()


def presettled(sender_url, receiver_url):
    """Pre-settled messages arrive, in order."""
    count = 300
    ready = threading.Event()
    side = Side(receive, receiver_url, "presettled", count, lambda receiver: None, ready, count)
    assert ready.wait(LIMIT)
    connection = connect(sender_url)
    sender = connection.create_sender("presettled", options=AtMostOnce())
    for number in range(count):
        sender.send(Message(body=number), timeout=LIMIT)
    # Sending pre-settled messages only queues them.
    connection.wait(lambda: sender.link.queued == 0, timeout=LIMIT)
    connection.close()
    assert [message.body for message in side.result()] == list(range(count))


def multicast(sender_url, receiver_url):
    """Every receiver of a multicast address gets every message, on either router."""
    urls = [sender_url, receiver_url, receiver_url]
    events = [threading.Event() for _ in urls]
    sides = [
        Side(receive, url, "multicast.news", 20, lambda receiver: receiver.accept(), event)
        for url, event in zip(urls, events)
    ]
    assert all(event.wait(LIMIT) for event in events)
    connection = connect(sender_url)
    sender = connection.create_sender("multicast.news")
    # The other router's receivers are announced a moment later than they are attached.
    until_remote(sender_url, "Mmulticast.news")
    for number in range(20):
        assert sender_outcome(sender, Message(body=number)) == Delivery.ACCEPTED
    for side in sides:
        assert [message.body for message in side.result()] == list(range(20))
    connection.close()


def query(connection, node, entity, attributes=()):
    """Management QUERY through a dynamic reply address."""
    receiver = connection.create_receiver(None, dynamic=True)
    sender = connection.create_sender(node)
    sender.send(
        Message(
            reply_to=receiver.link.remote_source.address,
            correlation_id="1",
            properties={"operation": "QUERY", "type": "org.amqp.management", "entityType": entity},
            body={"attributeNames": list(attributes)},
        ),
        timeout=LIMIT,
    )
    # Answers of management come settled.
    answer = receiver.receive(timeout=LIMIT)
    sender.close()
    receiver.close()
    assert answer.correlation_id == "1", answer
    assert answer.properties["statusCode"] == 200, answer.properties
    names = answer.body["attributeNames"]
    return [dict(zip(names, row)) for row in answer.body["results"]]


def until_remote(url, key):
    connection = connect(url)
    for _ in range(200):
        rows = query(connection, "$management", "io.skupper.router.router.address")
        if any(row["key"] == key and row["remoteCount"] > 0 for row in rows):
            break
        threading.Event().wait(0.05)
    else:
        raise AssertionError(f"{key} was not announced")
    connection.close()


def large(sender_url, receiver_url):
    """Messages of 2 MB, both ways at the same time."""
    octets = bytes(number * 31 % 251 for number in range(2_000_000))
    wanted = hashlib.sha256(octets).hexdigest()

    def one_way(sending, receiving, address):
        side = Side(receive, receiving, address, 4, lambda receiver: receiver.accept())
        connection = connect(sending)
        sender = connection.create_sender(address)
        for _ in range(4):
            assert sender_outcome(sender, Message(body=octets)) == Delivery.ACCEPTED
        for message in side.result():
            assert hashlib.sha256(bytes(message.body)).hexdigest() == wanted
        connection.close()

    sides = [
        Side(one_way, sender_url, receiver_url, "large.there"),
        Side(one_way, receiver_url, sender_url, "large.back"),
    ]
    for side in sides:
        side.result()


def request(sender_url, receiver_url):
    """A service answers to the dynamic address of its client, through an anonymous sender."""

    def serve():
        connection = connect(receiver_url)
        receiver = connection.create_receiver("calculator", credit=10)
        sender = connection.create_sender(None)
        for _ in range(5):
            question = receiver.receive(timeout=LIMIT)
            # Before the answer: the client takes that only once its question is settled.
            receiver.accept()
            sender.send(
                Message(
                    address=question.reply_to,
                    correlation_id=question.correlation_id,
                    body=question.body.upper(),
                ),
                timeout=LIMIT,
            )
        connection.close()

    service = Side(serve)
    connection = connect(sender_url)
    replies = connection.create_receiver(None, dynamic=True)
    reply_to = replies.link.remote_source.address
    assert "/_topo/0/" in reply_to, reply_to
    sender = connection.create_sender("calculator")
    for number in range(5):
        sender.send(Message(reply_to=reply_to, correlation_id=number, body=f"text {number}"), timeout=LIMIT)
        reply = replies.receive(timeout=LIMIT)
        replies.accept()
        assert (reply.correlation_id, reply.body) == (number, f"TEXT {number}"), reply
    # Sends what is still queued, the last acceptance.
    connection.close()
    service.result()


def management(sender_url, receiver_url):
    """Entities of the router itself and of the one behind it."""
    connection = connect(sender_url)
    for node, own in (("$management", "r0"), ("amqp:/_topo/0/r1/$management", "r1")):
        (router,) = query(connection, node, "io.skupper.router.router", ["id", "mode"])
        assert router["id"] == own and router["mode"] == "interior", router
        nodes = query(connection, node, "io.skupper.router.router.node")
        assert sorted(row["id"] for row in nodes) == ["r0", "r1"], nodes
    containers = [row["container"] for row in query(connection, "$management", "io.skupper.router.connection")]
    assert "r1" in containers, containers
    connection.close()


def refusals(sender_url, receiver_url):
    """What goes nowhere comes back, and what is no address is refused."""
    connection = connect(sender_url)
    anonymous = connection.create_sender(None)
    state = sender_outcome(anonymous, Message(address="nobody.listens", body=1))
    assert state in (Delivery.RELEASED, Delivery.MODIFIED), state
    assert sender_outcome(anonymous, Message(body=1)) == Delivery.REJECTED
    assert sender_outcome(anonymous, Message(address="_topo/0/nowhere/x", body=1)) in (
        Delivery.RELEASED,
        Delivery.MODIFIED,
    )
    refused = {
        "another router's address": (
            "qd:no-route-to-dest",
            lambda other: other.create_receiver("_topo/0/r1/x"),
        ),
        "what edges hear of addresses": (
            "qd:connection-role",
            lambda other: other.create_receiver("_$qd.edge_addr_tracking"),
        ),
        "a link of routers": (
            "qd:forbidden",
            lambda other: other.create_sender(None, options=Capability("qd.router")),
        ),
        "a data link of routers": (
            "qd:forbidden",
            lambda other: other.create_sender(None, options=Capability("qd.router-data")),
        ),
    }
    for what, (condition, attach) in refused.items():
        other = connect(sender_url)
        try:
            attach(other)
            query(other, "$management", "io.skupper.router.router", ["id"])
        except LinkDetached as detached:
            assert detached.condition == condition, f"{what}: {detached.condition}"
        else:
            raise AssertionError(f"{what} was attached")
        other.close()
    connection.close()
    # A receiver that goes away with messages unanswered: the sender learns that their fate is unknown.
    going = connect(receiver_url)
    receiver = going.create_receiver("leaving", credit=1)
    connection = connect(sender_url)
    sender = connection.create_sender("leaving")
    outcome = Side(sender_outcome, sender, Message(body="lost"))
    receiver.receive(timeout=LIMIT)
    going.close()
    assert outcome.result() in (Delivery.RELEASED, Delivery.MODIFIED), outcome.value


class Capability(SenderOption):
    """Asks for a treatment of the messages of a sender."""

    def __init__(self, name):
        self.name = name

    def apply(self, sender):
        sender.target.capabilities.put_object(symbol(self.name))


def resend(sender_url, receiver_url):
    """What one receiver releases is offered to the next one, if the sender asks for that."""
    stop = threading.Event()

    def release_all(ready):
        connection = connect(sender_url)
        receiver = connection.create_receiver("resend", credit=10)
        ready.set()
        seen = 0
        while not stop.is_set():
            try:
                receiver.receive(timeout=0.2)
            except Timeout:
                continue
            receiver.release(delivered=False)
            seen += 1
        connection.close()
        return seen

    ready = threading.Event()
    near = Side(release_all, ready)
    assert ready.wait(LIMIT)
    connection = connect(sender_url)
    plain = connection.create_sender("resend")
    assert sender_outcome(plain, Message(body="nobody takes it")) == Delivery.RELEASED
    asking = connection.create_sender("resend", name="asking", options=Capability("qd.resend-released"))
    assert sender_outcome(asking, Message(body="still nobody")) == Delivery.RELEASED
    far = Side(receive, receiver_url, "resend", 5, lambda receiver: receiver.accept())
    until_remote(sender_url, "Mresend")
    octets = bytes(600_000)
    for number in range(5):
        # The large one is on its way before it is completely received.
        body = octets if number == 4 else number
        assert sender_outcome(asking, Message(body=body)) == Delivery.ACCEPTED, number
    got = [message.body for message in far.result()]
    assert got[:4] == [0, 1, 2, 3] and bytes(got[4]) == octets, "each once, in order"
    stop.set()
    assert near.result() >= 3, "the near one was asked, too"
    connection.close()


def unavailable(sender_url, receiver_url):
    """An address that the configuration closes is refused by name."""
    connection = connect(sender_url)
    for attach in (connection.create_sender, connection.create_receiver):
        try:
            attach("closed.door")
        except LinkDetached as refused:
            assert refused.condition == "amqp:not-found", refused.condition
        else:
            raise AssertionError("an unavailable address was attached")
    anonymous = connection.create_sender(None)
    assert sender_outcome(anonymous, Message(address="closed.door", body=1)) == Delivery.REJECTED
    connection.close()


def stranded(sender_url, receiver_url):
    """A sender whose last receiver goes has no credit until there is another one."""
    connection = connect(sender_url)
    going = Side(receive, sender_url, "_local/stranded", 1, lambda receiver: receiver.accept())
    sender = connection.create_sender("_local/stranded")
    assert sender_outcome(sender, Message(body=1)) == Delivery.ACCEPTED
    assert [message.body for message in going.result()] == [1]
    until_no_consumer(sender_url, "Lstranded")
    assert sender_outcome(sender, Message(body=2)) == Delivery.RELEASED
    connection.wait(lambda: sender.link.drain_mode, timeout=LIMIT)
    sender.link.drained()
    assert sender.link.credit == 0, sender.link.credit
    # Proton tells the router so with the next exchange, and until then it would still send.
    query(connection, "$management", "io.skupper.router.router")
    side = Side(receive, sender_url, "_local/stranded", 1, lambda receiver: receiver.accept())
    state = sender_outcome(sender, Message(body=3))
    assert state == Delivery.ACCEPTED, (state, sender.link.credit)
    assert [message.body for message in side.result()] == [3]
    connection.close()


def until_no_consumer(url, key):
    connection = connect(url)
    for _ in range(200):
        rows = query(connection, "$management", "io.skupper.router.router.address")
        if not any(row["key"] == key and row["subscriberCount"] > 0 for row in rows):
            break
        threading.Event().wait(0.05)
    else:
        raise AssertionError(f"{key} still has a consumer")
    connection.close()


def large_multicast(sender_url, receiver_url):
    """Multicasts of 3 MB, which no router keeps as a whole, and small ones that overtake them."""
    urls = [sender_url, receiver_url, receiver_url]
    octets = bytes(number * 37 % 253 for number in range(3_000_000))
    events = [threading.Event() for _ in urls]
    sides = [
        Side(receive, url, "multicast.large", 3, lambda receiver: receiver.accept(), event)
        for url, event in zip(urls, events)
    ]
    assert all(event.wait(LIMIT) for event in events)
    connection = connect(sender_url)
    sender = connection.create_sender("multicast.large")
    until_remote(sender_url, "Mmulticast.large")
    for _ in range(3):
        assert sender_outcome(sender, Message(body=octets)) == Delivery.ACCEPTED
    for side in sides:
        for message in side.result():
            assert bytes(message.body) == octets
    connection.close()


def second_settlement(sender_url, receiver_url):
    """A receiver that leaves the last word to the sender gets it."""

    def take():
        connection = connect(receiver_url)
        receiver = connection.create_receiver("second", credit=1)
        receiver.receive(timeout=LIMIT)
        delivery = receiver.fetcher.unsettled[0]
        delivery.update(Delivery.ACCEPTED)
        connection.wait(lambda: delivery.settled, timeout=LIMIT)
        connection.close()

    side = Side(take)
    connection = connect(sender_url)
    sender = connection.create_sender("second")
    connection.wait(lambda: sender.link.credit > 0, timeout=LIMIT)
    delivery = sender.link.send(Message(body=1))
    connection.wait(lambda: delivery.remote_state == Delivery.ACCEPTED, timeout=LIMIT)
    assert not delivery.settled, "nobody has settled yet"
    delivery.settle()
    # Proton tells the router with the next exchange.
    query(connection, "$management", "io.skupper.router.router")
    side.result()
    connection.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], sys.argv[3])
    print(f"{sys.argv[1]}: as it should be")
