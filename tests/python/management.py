"""Management of a router by a client of an independent implementation.

Usage: management.py CASE URL ARGUMENT…

Exit status 0 if everything was as it should be; else the traceback says what was not.
"""

import socket
import sys
import threading

from proton import Delivery, Message
from proton.utils import BlockingConnection, LinkDetached, SendException

LIMIT = 60
HERE = "$management"


class Client:
    """A connection with which management is asked."""

    def __init__(self, url, node=HERE):
        self.connection = BlockingConnection(url, timeout=LIMIT, allowed_mechs="ANONYMOUS")
        self.replies = self.connection.create_receiver(None, dynamic=True)
        self.requests = self.connection.create_sender(node)
        self.number = 0

    def ask(self, operation, entity, name=None, body=None, **properties):
        """Status, description and body of the answer."""
        self.number += 1
        properties |= {"operation": operation, "type": entity}
        if name is not None:
            properties["name"] = name
        reply_to = self.replies.link.remote_source.address
        message = Message(reply_to=reply_to, correlation_id=self.number, properties=properties, body=body or {})
        self.requests.send(message, timeout=LIMIT)
        answer = self.replies.receive(timeout=LIMIT)
        assert answer.correlation_id == self.number, answer
        return answer.properties["statusCode"], answer.properties["statusDescription"], answer.body

    def rows(self, entity):
        status, _, body = self.ask("QUERY", "org.amqp.management", body={"attributeNames": []}, entityType=entity)
        assert status == 200, body
        return [dict(zip(body["attributeNames"], row)) for row in body["results"]]

    def must(self, status, *arguments, **named):
        """The answer has this status; returns its body."""
        answer = self.ask(*arguments, **named)
        assert answer[0] == status, (arguments, answer)
        return answer[2]

    def close(self):
        self.connection.close()


def until(what, check):
    for _ in range(LIMIT * 20):
        if check():
            return
        threading.Event().wait(0.05)
    raise AssertionError(what)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=LIMIT).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        pass  # taken, and given up at once
    return True


def ended(client):
    """The router has closed a connection."""
    try:
        client.ask("QUERY", "org.amqp.management", entityType="router")
    except Exception:  # whatever the library calls it
        return True
    return False


def listeners(url, port):
    """Listeners come, change and go."""
    client = Client(url)
    attributes = {"host": "127.0.0.1", "port": port, "role": "normal"}
    made = client.must(201, "CREATE", "listener", "extra", attributes)
    assert (made["name"], made["port"], made["type"]) == ("extra", port, "io.skupper.router.listener"), made
    until("the new listener accepts", lambda: listens(port))
    other = Client(f"amqp://127.0.0.1:{port}")
    assert other.rows("router")[0]["id"] == "r0"

    status, text, _ = client.ask("CREATE", "listener", "extra", attributes)
    assert status == 400 and "duplicate" in text, (status, text)
    status, text, _ = client.ask("CREATE", "listener", "more", attributes | {"colour": "red"})
    assert status == 400 and "colour" in text, (status, text)
    status, text, _ = client.ask("CREATE", "listener", "more", attributes)
    assert status == 400 and port in text, ("the port is taken", status, text)
    status, text, _ = client.ask("UPDATE", "listener", "extra", {"name": "renamed"})
    assert status == 400, (status, text)
    client.must(404, "UPDATE", "listener", "nobody", {"cost": 2})
    client.must(404, "DELETE", "listener", "nobody")
    client.must(501, "DELETE", "router.node", "router.node/r0")

    client.must(204, "DELETE", "listener", "extra")
    until("the deleted listener is closed", lambda: not listens(port))
    until("what it had accepted is closed", lambda: ended(other))
    client.must(404, "READ", "listener", "extra")

    # The service at a tcpListener is the far router's.
    client.must(201, "CREATE", "tcpListener", "shop", {"host": "127.0.0.1", "port": port, "address": "service:80"})
    until("clients of the service are accepted", lambda: listens(port))
    client.must(204, "DELETE", "tcpListener", "shop")
    until("no more clients", lambda: not listens(port))

    changed = client.must(200, "UPDATE", "log", None, {"enable": "debug+"}, identity="log/TCP_ADAPTOR")
    assert changed["enable"] == "debug+", changed
    client.close()


def connectors(url):
    """A deleted connector closes its link, and one that is made anew brings it back."""
    client = Client(url)
    nodes = lambda: sorted(row["id"] for row in client.rows("router.node"))
    until("both routers are known", lambda: nodes() == ["r0", "r1"])
    before = client.must(200, "READ", "connector", "to-r1")
    client.must(204, "DELETE", "connector", "to-r1")
    until("the link is closed", lambda: nodes() == ["r0"])
    until("its connections are closed", lambda: all(row["role"] == "normal" for row in client.rows("connection")))
    keep = ("host", "port", "role", "cost", "sslProfile", "verifyHostname")
    client.must(201, "CREATE", "connector", "to-r1", {name: before[name] for name in keep if name in before})
    until("the link is back", lambda: nodes() == ["r0", "r1"])

    proxy = {"host": "proxy.example", "port": 3128, "username": "jane", "password": "very secret"}
    made = client.must(201, "CREATE", "proxyProfile", "way-out", proxy)
    assert made["host"] == "proxy.example" and "password" not in made, made
    far = {"host": "far.example", "port": 55671, "role": "inter-router", "proxyProfile": "way-out"}
    client.must(201, "CREATE", "connector", "far", far)
    status, text, _ = client.ask("DELETE", "proxyProfile", "way-out")
    assert status == 400 and "way-out" in text, ("it is in use", status, text)
    client.must(204, "DELETE", "connector", "far")
    client.must(204, "DELETE", "proxyProfile", "way-out")
    assert not client.rows("proxyProfile")

    other = Client(url)
    mine = other.connection.container.container_id
    (row,) = [row for row in client.rows("connection") if row["container"] == mine]
    client.must(200, "UPDATE", "connection", None, {"adminStatus": "deleted"}, identity=row["identity"])
    until("the connection is closed", lambda: ended(other))
    client.close()


def flows(url, far, port):
    """TCP flows have links and counts, and end alone when they are told to."""

    def flow():
        client = socket.create_connection(("127.0.0.1", int(port)), timeout=LIMIT)
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        return client

    here, there = Client(url), Client(far)
    first, second = flow(), flow()
    tcp = lambda client: [row for row in client.rows("connection") if row["protocol"] == "tcp"]
    name = "%s:%s" % first.getsockname()
    (mine,) = [row for row in tcp(here) if row["host"] == name]
    assert (mine["dir"], mine["operStatus"]) == ("in", "up"), mine
    assert len(tcp(here)) == len(tcp(there)) == 2

    for client, side, direction in ((here, "ingress", "in"), (there, "egress", "out")):
        # at the far end, flows of routers of this kind have the name of their server
        wanted = lambda row: direction == "out" or row["name"] == name
        shown = lambda: [row for row in client.rows("tcpConnection") if wanted(row)]
        counts = lambda: {(row["direction"], row["bytesIn"], row["bytesOut"]) for row in shown()}
        # what was written is counted after it can be read
        until(f"the flow has its counts: {shown()}", lambda: counts() == {(direction, 5, 5)})
        identity = shown()[0]["identity"]
        everything = client.rows("router.link")
        assert len({row["identity"] for row in everything}) == len(everything), everything
        links = [row for row in everything if row["connectionId"] == identity]
        service = {"ingress": "in", "egress": "out"}[side]
        for link in links:
            assert link["linkName"] == f"tcp.{side}.{link['linkDir']}", link
            assert link["owningAddr"] == ("Mservice:80" if link["linkDir"] == service else None), link
        assert sorted(link["linkDir"] for link in links) == ["in", "out"], links

    client.must(404, "UPDATE", "connection", None, {"adminStatus": "deleted"}, identity="999999")
    body = here.must(200, "UPDATE", "connection", None, {"adminStatus": "deleted"}, identity=mine["identity"])
    assert (body["adminStatus"], body["operStatus"]) == ("deleted", "closing"), body
    try:
        assert not first.recv(1), "nothing was to come"
    except ConnectionResetError:
        pass
    until("the flow is over at both ends", lambda: len(tcp(here)) == len(tcp(there)) == 1)
    second.sendall(b"still")
    assert second.recv(5) == b"still"

    # and from the other end
    (left,) = tcp(there)
    there.must(200, "UPDATE", "connection", None, {"adminStatus": "deleted"}, identity=left["identity"])
    try:
        assert not second.recv(1), "nothing was to come"
    except ConnectionResetError:
        pass
    until("no flow is left", lambda: not tcp(here) and not tcp(there))
    flow().close()
    here.close()
    there.close()


def logs(url, port):
    """Levels of one module change at run time, for that module alone."""
    client = Client(url)
    lines = lambda module: {row["name"]: row for row in client.rows("logStats")}[f"logStats/{module}"]["debugCount"]
    open_flows = lambda: [row for row in client.rows("connection") if row["protocol"] == "tcp"]

    def flow():
        with socket.create_connection(("127.0.0.1", int(port)), timeout=LIMIT) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        until("the flow is over", lambda: not open_flows())

    def level(enable, identity="log/TCP_ADAPTOR"):
        changed = client.must(200, "UPDATE", "log", None, {"enable": enable}, identity=identity)
        assert changed["enable"] == enable, changed

    until("no flow is left", lambda: not open_flows())
    level("error+")
    quiet, others = lines("TCP_ADAPTOR"), lines("SERVER")
    flow()
    Client(url).close()
    until("others go on", lambda: lines("SERVER") > others)
    assert lines("TCP_ADAPTOR") == quiet, "nothing of that module"
    level("debug+")
    flow()
    until("it tells of flows again", lambda: lines("TCP_ADAPTOR") > quiet)
    client.must(400, "UPDATE", "log", None, {"enable": "loud+"}, identity="log/TCP_ADAPTOR")
    status, text, _ = client.ask("UPDATE", "log", None, {"enable": "debug+"}, identity="log/NOBODY")
    assert status == 404, (status, text)
    client.close()


def edge(url, own):
    """Other routers may ask; what they want changed is refused."""
    client = Client(url, "_topo/0/r0/$management")
    assert "to-r1" in [row["name"] for row in client.rows("connector")]
    status, text, _ = client.ask("DELETE", "connector", "to-r1")
    assert status == 403, (status, text)
    client.must(403, "CREATE", "listener", "mine", {"host": "127.0.0.1", "port": "1", "role": "normal"})
    client.must(403, "UPDATE", "log", None, {"enable": "debug+"}, identity="log/TCP_ADAPTOR")
    client.close()
    for node in (HERE, "_local/$management"):
        refused(url, node)
    client = Client(own)
    assert client.must(200, "READ", "connector", "to-r1")["connectionStatus"] == "SUCCESS"
    client.close()


def refused(url, node):
    connection = BlockingConnection(url, timeout=LIMIT, allowed_mechs="ANONYMOUS")
    try:
        connection.create_sender(node)
    except LinkDetached as detached:
        assert detached.condition == "amqp:unauthorized-access", detached.condition
    else:
        raise AssertionError(f"a link to {node}")
    connection.close()


def stranger(url):
    """A client that has not proved who it is, from another host."""
    for node in (HERE, "_local/$management", "_topo/0/r0/$management", "_topo/0/r1/$management"):
        refused(url, node)
    connection = BlockingConnection(url, timeout=LIMIT, allowed_mechs="ANONYMOUS")
    anonymous = connection.create_sender(None)
    message = Message(address=HERE, properties={"operation": "QUERY", "type": "org.amqp.management"}, body={})
    try:
        anonymous.send(message, timeout=LIMIT)
    except SendException as error:
        assert error.state == Delivery.REJECTED, error.state
    else:
        raise AssertionError("a message to management")
    # It is a client like any other beyond that.
    connection.create_receiver("its.own")
    connection.create_sender("its.own")
    connection.close()


def profile(url, name, attribute, number):
    """A number of a TLS profile changes, at whatever router."""
    client = Client(url)
    properties = {"operation": "UPDATE", "type": "io.skupper.router.sslProfile", "name": name}
    reply_to = client.replies.link.remote_source.address
    client.requests.send(Message(reply_to=reply_to, properties=properties, body={attribute: int(number)}), timeout=LIMIT)
    # C routers give no correlation id back unless it is a text.
    answer = client.replies.receive(timeout=LIMIT)
    assert answer.properties["statusCode"] == 200, answer


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print(f"{sys.argv[1]}: as it should be")
