"""A tunnel that adds TLS of an independent implementation (OpenSSL) to a plain connection, on either side.

Usage: tls.py client --listen PORT --connect PORT --ca FILE [--cert FILE --key FILE] [--name HOST] [...]
       tls.py server --listen PORT --connect PORT --cert FILE --key FILE [--ca FILE] [...]

The client accepts plain connections and makes TLS connections of them; the server does the reverse. Each half-close is
passed on: a FIN on the plain side is close_notify and FIN on the other. Writes `ready`, then a JSON object for each
handshake: what was negotiated, or the error.
"""

import argparse
import json
import select
import socket
import ssl
import struct
import sys
import threading

STEP = 64 * 1024
ENOUGH = 1024 * 1024


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["client", "server"])
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--connect", type=int, required=True)
    parser.add_argument("--ca")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--name", default="127.0.0.1")
    parser.add_argument("--alpn", default="")
    parser.add_argument("--tls12", action="store_true")
    parser.add_argument("--resume", action="store_true", help="resume the last session")
    parser.add_argument("--abrupt", action="store_true", help="end without close_notify")
    return parser.parse_args()


def context_of(options):
    server = options.side == "server"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    if options.cert:
        context.load_cert_chain(options.cert, options.key)
    if options.ca:
        context.load_verify_locations(options.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    elif not server:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.alpn:
        context.set_alpn_protocols(options.alpn.split(","))
    if options.tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class Tunnel:
    """One connection."""

    def __init__(self, options, context, session):
        self.options, self.context, self.session = options, context, session

    def run(self, accepted):
        with accepted, socket.socket() as other:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = self.options.side == "server"
            self.secure, self.plain = (accepted, other) if server else (other, accepted)
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = self.context.wrap_bio(
                self.incoming,
                self.outgoing,
                server_side=server,
                server_hostname=None if server else self.options.name,
                session=self.session.get("last") if self.options.resume else None,
            )
            try:
                if not server:
                    other.connect(("127.0.0.1", self.options.connect))
                self.handshake()
                if server:
                    other.connect(("127.0.0.1", self.options.connect))
                self.pump()
            except OSError as error:
                say(error=str(error))
                for side in (accepted, other):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.send_all()
                self.feed(self.secure.recv(STEP))
            except ssl.SSLError:
                self.send_all()
                raise
        self.send_all()
        say(
            alpn=self.tls.selected_alpn_protocol(),
            version=self.tls.version(),
            reused=self.tls.session_reused,
        )

    def send_all(self):
        self.secure.sendall(self.outgoing.read())

    def feed(self, octets):
        if octets:
            self.incoming.write(octets)
        else:
            self.incoming.write_eof()

    def pump(self):
        to_plain, to_secure = bytearray(), bytearray()
        plain_open = secure_open = True
        plain_shut = secure_shut = False
        while not (plain_shut and secure_shut):
            # Everything that has arrived is taken out before anything else is asked of the session.
            while secure_open:
                try:
                    octets = self.tls.read(STEP)
                    if not octets:
                        secure_open = False
                    to_plain += octets
                except ssl.SSLWantReadError:
                    break
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    secure_open = False
            if self.tls.session is not None:
                self.session["last"] = self.tls.session
            to_secure += self.outgoing.read()
            if not secure_open and not to_plain and not plain_shut:
                plain_shut = True
                self.plain.shutdown(socket.SHUT_WR)
            if not plain_open and not to_secure and not secure_shut:
                secure_shut = True
                if not self.options.abrupt:
                    try:
                        self.tls.unwrap()
                    except (ssl.SSLWantReadError, ssl.SSLSyscallError):
                        pass
                    self.send_all()
                self.secure.shutdown(socket.SHUT_WR)
                continue
            if plain_shut and secure_shut:
                break
            readers = []
            if plain_open and len(to_secure) < ENOUGH:
                readers.append(self.plain)
            if secure_open and len(to_plain) < ENOUGH:
                readers.append(self.secure)
            writers = [self.plain] * bool(to_plain) + [self.secure] * bool(to_secure)
            readable, writable, _ = select.select(readers, writers, [])
            if self.plain in readable:
                octets = self.plain.recv(STEP)
                if octets:
                    self.tls.write(octets)
                    to_secure += self.outgoing.read()
                else:
                    plain_open = False
            if self.secure in readable:
                self.feed(self.secure.recv(STEP))
            if self.plain in writable:
                del to_plain[: self.plain.send(to_plain[:ENOUGH])]
            if self.secure in writable:
                del to_secure[: self.secure.send(to_secure[:ENOUGH])]


def say(**facts):
    print(json.dumps(facts), flush=True)


def main():
    options = parse()
    context, session = context_of(options), {}
    listener = socket.create_server(("127.0.0.1", options.listen), backlog=256)
    print("ready", flush=True)
    while True:
        accepted, _ = listener.accept()
        tunnel = Tunnel(options, context, session)
        threading.Thread(target=tunnel.run, args=(accepted,), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
