"""The chains that can be measured: their configurations, processes and ports."""

import json
import os
import resource
import subprocess

from ports import Ports, wait_listening
from process import BenchError

NAMES = ["direct", "haproxy", "skupper", "c24", "c27", "c35"]
# Connections that the tunnel is told to expect, and those beside the idle flows of a row.
LEAST, SPARE = 4000, 50
# Descriptors of the tunnel that are no connections.
OTHERS = 100
PEERS = {"c24": "SKROUTERD_24", "c27": "SKROUTERD_27", "c35": "SKROUTERD_35"}


def requirement(name):
    """What a chain needs, for a message."""
    if name in PEERS:
        return "%s must name the router's program" % PEERS[name]
    return "chains are " + ", ".join(NAMES)


def available(options, folder, release_binary):
    """Chains that can run here, by name, in the order of measurement."""
    chosen = options.chains.split(",") if options.chains else NAMES
    certificates = Certificates(folder / "tls")
    made = {}
    for index, name in enumerate(NAMES):
        base = options.port_base + 10 + 10 * index
        if name not in chosen:
            continue
        if name == "direct":
            made[name] = Direct()
        elif name == "haproxy":
            most = max(LEAST, options.flows + SPARE) if "flows" in options.rows else LEAST
            made[name] = Tunnel(base, certificates, most)
        elif name == "skupper":
            made[name] = Routers("this router x2", [release_binary(), "router", "--config"], None, base, certificates,
                                 translates=True)
        elif os.environ.get(PEERS[name]):
            variable = PEERS[name]
            title = "%s x2" % version(os.environ[variable], libraries(variable))
            made[name] = Routers(title, [os.environ[variable], "-c"], libraries(variable), base, certificates)
    return made


def libraries(variable):
    """Environment for the router that `variable` names."""
    environment = dict(os.environ)
    path = environment.get(variable + "_LIBS")
    if path:
        before = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = path + (":" + before if before else "")
    return environment


def version(program, environment):
    """Name and version of another router."""
    try:
        said = subprocess.run([program, "--version"], env=environment, stdin=subprocess.DEVNULL, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError("%s --version: %s" % (program, error)) from error
    return "C router " + said.stdout.strip()


class Certificates:
    """A certificate authority with one server and one client certificate: RSA-2048, a day valid."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(mode=0o700)
        self.authority = folder / "ca.crt"
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
                      "-days", "1", "-subj", "/CN=bench-ca", "-addext", "keyUsage=critical,keyCertSign")
        for name in ("server", "client"):
            (folder / "extensions").write_text(
                "subjectAltName=DNS:localhost,IP:127.0.0.1\nkeyUsage=digitalSignature,keyEncipherment\n"
                "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n")
            self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr",
                          "-subj", "/CN=localhost")
            self._openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                          "-CAcreateserial", "-days", "1", "-extfile", "extensions", "-out", name + ".crt")
            # haproxy wants both in one file.
            (folder / (name + ".pem")).write_text(self.certificate(name).read_text() + self.key(name).read_text())

    def certificate(self, name):
        return self.folder / (name + ".crt")

    def key(self, name):
        return self.folder / (name + ".key")

    def both(self, name):
        return self.folder / (name + ".pem")

    def _openssl(self, *words):
        done = subprocess.run(["openssl", *words], cwd=self.folder, stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        if done.returncode != 0:
            raise BenchError("openssl %s: %s" % (words[0], done.stdout.strip()))


class Chain:
    """What chains have in common."""

    translates = False

    def check_holds(self, _flows):
        """Raises when the chain cannot have so many connections at once."""


class Direct(Chain):
    """No proxy at all."""

    title = "direct, no proxy"

    def start(self, _processes, servers, distance, _framings):
        return Ports(*map(distance, servers))

    def pids(self):
        return []


class Tunnel(Chain):
    """Two haproxies with a TLS connection per client connection, which know nothing of routing."""

    title = "haproxy x2, TLS tunnel"

    def __init__(self, base, certificates, most):
        self.base = base
        # It needs two descriptors for each, and does not start if it cannot have them.
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        room = most if limit == resource.RLIM_INFINITY else (limit - OTHERS) // 2
        self.most = min(most, room)
        self.certificates = certificates
        self.started = []

    def pids(self):
        return self.started

    def check_holds(self, flows):
        if flows > self.most - SPARE:
            raise BenchError("the hard limit of open files (ulimit -Hn) lets haproxy have %d connections: raise it, or say "
                             "--flows %d" % (self.most, self.most - SPARE))

    def start(self, processes, servers, distance, _framings):
        ports = Ports(self.base, self.base + 1)
        middle = Ports(self.base + 2, self.base + 3)
        tls = "ca-file %s verify required" % self.certificates.authority
        server = "ssl crt %s %s" % (self.certificates.both("server"), tls)
        client = "ssl crt %s %s sni str(localhost) verifyhost localhost" % (self.certificates.both("client"), tls)
        second = self._config("%s " + server, "", middle, servers)
        self.started = [self._start(processes, "second", second)]
        for port in middle:
            wait_listening(port, processes)
        first = self._config("%s", client, ports, Ports(*map(distance, middle)))
        self.started.insert(0, self._start(processes, "first", first))
        return ports

    @staticmethod
    def _start(processes, name, text):
        path = processes.folder / (name + ".cfg")
        path.write_text(text)
        return processes.start(name, ["haproxy", "-db", "-f", str(path)])

    def _config(self, bind, server, here, there):
        text = """global
    maxconn %d
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-server-options ssl-min-ver TLSv1.3
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
""" % self.most
        for kind in Ports._fields:
            text += "listen %s\n    bind %s\n    server next 127.0.0.1:%d %s\n" % (
                kind, bind % ("127.0.0.1:%d" % getattr(here, kind)), getattr(there, kind), server)
        return text


class Routers(Chain):
    """Two interior routers with one inter-router link; the first has the listeners and dials."""

    def __init__(self, title, command, environment, base, certificates, translates=False):
        self.title = title
        self.translates = translates
        self.command = command
        self.environment = environment
        self.base = base
        self.certificates = certificates
        self.started = []

    def pids(self):
        return self.started

    def start(self, processes, servers, distance, framings):
        """`framings`: those of the listeners and of the connectors, if they are not to find one themselves."""
        ports = Ports(self.base, self.base + 1)
        near, far = ({"encapsulation": framing} for framing in framings) if framings else ({}, {})
        link = {"role": "inter-router", "host": "localhost", "port": str(self.base + 2), "sslProfile": "tls"}
        first = self._common("first", "client")
        second = self._common("second", "server")
        second.append(["listener", dict(link, name="link", host="127.0.0.1", authenticatePeer=True,
                                        requireSsl=True, saslMechanisms="EXTERNAL")])
        for kind in Ports._fields:
            first.append(["tcpListener", {"name": kind, "address": kind, "host": "127.0.0.1",
                                          "port": str(getattr(ports, kind)), **near}])
            second.append(["tcpConnector", {"name": kind, "address": kind, "host": "127.0.0.1",
                                            "port": str(getattr(servers, kind)), **far}])
        # The one that listens goes first, else the other waits for its retry.
        self.started = [self._start(processes, "second", second)]
        wait_listening(self.base + 2, processes)
        first.append(["connector", dict(link, name="link", port=str(distance(self.base + 2)))])
        self.started.append(self._start(processes, "first", first))
        return ports

    def _start(self, processes, name, config):
        path = processes.folder / (name + ".json")
        path.write_text(json.dumps(config, indent=1))
        return processes.start(name, [*self.command, str(path)], self.environment)

    def _common(self, router, certificate):
        return [
            ["router", {"id": router, "mode": "interior"}],
            ["sslProfile", {"name": "tls", "caCertFile": str(self.certificates.authority),
                            "certFile": str(self.certificates.certificate(certificate)),
                            "privateKeyFile": str(self.certificates.key(certificate))}],
        ]

