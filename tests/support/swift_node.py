"""One machine of an OpenStack Swift cluster: account, container, object and proxy server on the loopback.

Runs in Swift's own virtual environment: ``python swift_node.py FOLDER``. Says the proxy's port on a line of standard
output when all four answer, then obeys lines of standard input: ``kill``, ``start``, ``pause`` and ``resume``, each
with names of servers and answered by a line. It ends, with all four, at the line ``end``, when standard input ends, or
when the process that started it dies.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import math
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

Environment = dict[str, Any]
Application = Callable[[Environment, Callable[..., Any]], Iterable[bytes]]

SERVERS = ("account", "container", "object", "proxy")
HOST = "127.0.0.1"
PART_POWER = 2
DEVICE = "d1"

COMMON = """
[DEFAULT]
bind_ip = {host}
bind_port = {port}
workers = 0
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
log_level = WARNING
"""
# an object server that hears nothing from the container server leaves the listing to a daemon, which is not here
BACKEND = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
container_update_timeout = 60
"""
# Swift keeps what it knows about accounts and containers in memcached; here a dictionary of the proxy's does as well
PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper watch cache healthcheck listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
conn_timeout = 5
node_timeout = 30
error_suppression_interval = 0
[filter:watch]
paste.filter_factory = swift_node:watch
folder = {folder}
[filter:cache]
paste.filter_factory = swift_node:cache
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
# fewer than a tiny store has objects, so that every list takes several requests
max_bucket_listing = 30
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_reader = reading
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
SWIFT = """
[swift-hash]
swift_hash_path_prefix = trajstore
swift_hash_path_suffix = trajstore
"""


def watch(_: dict[str, str], **options: str) -> Callable[[Application], Application]:
    """A filter that writes down each request, and answers some of them as a server in trouble does."""
    return lambda application: Watch(application, Path(options["folder"]))


def cache(_: dict[str, str], **__: str) -> Callable[[Application], Application]:
    """A filter that lends each request the memory of this process."""
    memory = Memory()

    def remember(application: Application) -> Application:
        def with_memory(environment: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
            environment["swift.cache"] = memory
            return application(environment, start_response)

        return with_memory

    return remember


class Memory:
    """What Swift asks of memcached: values as JSON brings them back, gone in time."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float, str]] = {}

    def get(self, key: str, **_: object) -> Any:
        """The value of a key, or None."""
        expires, value = self._values.get(key, (0.0, "null"))
        return json.loads(value) if monotonic() < expires else None

    def set(self, key: str, value: object, *, time: float = 0, **_: object) -> None:
        """Keep a value."""
        self._values[key] = (monotonic() + (time or math.inf), json.dumps(value))

    def delete(self, key: str, **_: object) -> None:
        """Forget a value."""
        self._values.pop(key, None)


class Watch:
    """Notes requests in ``requests.jsonl``; obeys ``faults.json``: for which of them, and a cycle of answers."""

    def __init__(self, application: Application, folder: Path) -> None:
        self.application = application
        self.journal = (folder / "requests.jsonl").open("a", buffering=1)
        self.faults = folder / "faults.json"
        self.version = 0.0
        self.rule: dict[str, Any] = {}
        self.answers: Iterator[int] = iter(())

    def __call__(self, environment: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if environment["PATH_INFO"] == "/healthcheck":  # is how one learns that all earlier ones are noted
            yield from self.application(environment, start_response)
            return
        note: dict[str, Any] = {
            "method": environment["REQUEST_METHOD"],
            "path": environment["PATH_INFO"],
            "query": environment.get("QUERY_STRING", ""),
            "range": environment.get("HTTP_RANGE"),
            "received": int(environment.get("CONTENT_LENGTH") or 0),
            "sent": 0,
        }

        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            note["status"] = int(status.split()[0])
            return start_response(status, headers, error)

        fault = self._next_fault(note)
        application = fail_with(fault) if fault else self.application
        body = application(environment, start)
        try:
            for part in body:
                note["sent"] += len(part)
                yield part
        finally:
            getattr(body, "close", lambda: None)()
            self.journal.write(json.dumps(note) + "\n")

    def _next_fault(self, note: dict[str, Any]) -> int:
        """The status of the failure that this request meets, or 0."""
        version = self.faults.stat().st_mtime_ns if self.faults.exists() else 0
        if version != self.version:
            self.version = version
            self.rule = json.loads(self.faults.read_text()) if version else {}
            self.answers = itertools.cycle(self.rule.get("answers", [0]))
        if self.rule and note["method"] in self.rule["methods"] and self.rule["part_of_path"] in note["path"]:
            return next(self.answers)
        return 0


def fail_with(status: int) -> Application:
    """An application that answers each request with an error in the words of S3."""
    code, phrase = {503: ("SlowDown", "Slow Down"), 500: ("InternalError", "Internal Server Error")}[status]
    message = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{phrase}</Message></Error>".encode()

    def application(environment: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(message)))]
        start_response(f"{status} {phrase}", headers)
        return [message]

    return application


def reserve_port() -> socket.socket:
    """A socket that keeps a port from others, and yet refuses connections and lets a server of ours listen there."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, 0))
    return sock


def configure(folder: Path, ports: dict[str, int]) -> None:
    """Write the configuration of the four servers and the rings: one device, one replica."""
    from swift.common.ring import RingBuilder

    (folder / "devices" / DEVICE).mkdir(parents=True)
    (folder / "swift.conf").write_text(SWIFT)
    for name, port in ports.items():
        text = COMMON + (PROXY if name == "proxy" else BACKEND)
        (folder / f"{name}.conf").write_text(text.format(host=HOST, port=port, folder=folder, name=name))
        if name == "proxy":
            continue
        builder = RingBuilder(PART_POWER, replicas=1, min_part_hours=0)
        address = {"ip": HOST, "port": port, "replication_ip": HOST, "replication_port": port}
        builder.add_dev({"region": 1, "zone": 1, "device": DEVICE, "weight": 1, "meta": ""} | address)
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def die_with_parent() -> None:
    """Ask the system, where it is Linux, to kill this process as soon as the one that started it is gone."""
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def serve(folder: Path, name: str, parent: int) -> None:
    """Be one of the servers; does not return."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    from swift.common.wsgi import run_wsgi

    more = {}
    if name == "object":
        from swift.obj.server import global_conf_callback

        more = {"global_conf_callback": global_conf_callback}
    os._exit(run_wsgi(str(folder / f"{name}.conf"), f"{name}-server", verbose=True, **more))


class Node:
    """The four servers as child processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reserved = {name: reserve_port() for name in SERVERS}
        self.ports = {name: sock.getsockname()[1] for name, sock in self.reserved.items()}
        self.children: dict[str, multiprocessing.Process] = {}
        configure(folder, self.ports)

    def start(self, *names: str) -> None:
        """Start servers and wait until they answer."""
        for name in names:
            context = multiprocessing.get_context("fork")  # Swift is imported once for all
            self.children[name] = context.Process(
                target=serve, args=(self.folder, name, os.getpid()), daemon=True
            )
            self.children[name].start()
        for name in names:
            while not is_listening(self.ports[name]):
                if not self.children[name].is_alive():
                    sys.exit(f"the {name} server has ended: see {self.folder}/{name}.log")
                time.sleep(0.01)

    def kill(self, *names: str) -> None:
        """Kill servers as a power cut would."""
        for name in names:
            self.children[name].kill()
            self.children[name].join()

    def pause(self, *names: str) -> None:
        """Have servers accept connections and say nothing."""
        for name in names:
            os.kill(self.children[name].pid, signal.SIGSTOP)

    def resume(self, *names: str) -> None:
        """Have paused servers go on."""
        for name in names:
            os.kill(self.children[name].pid, signal.SIGCONT)


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections at a port."""
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) == 0


def main() -> None:
    """Run the node until standard input ends."""
    die_with_parent()
    import swift.account.server
    import swift.common.middleware.s3api.s3api
    import swift.container.server
    import swift.obj.server
    import swift.proxy.server  # noqa: F401

    node = Node(Path(sys.argv[1]).resolve())
    node.start(*SERVERS)
    print(node.ports["proxy"], flush=True)
    for line in sys.stdin:
        action, *names = line.split()
        if action == "end":
            break
        {"kill": node.kill, "start": node.start, "pause": node.pause, "resume": node.resume}[action](*names)
        print("done", flush=True)
    node.kill(*SERVERS)


if __name__ == "__main__":
    main()
