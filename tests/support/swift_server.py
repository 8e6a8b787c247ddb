"""OpenStack Swift with its S3 API, for tests: starts it, breaks it, and says what it was asked.

The server lives in a virtual environment of its own, which is made on first use and kept: in the project's folder
``.cache``, or where the environment variable ``TRAJSTORE_TEST_CACHE`` says.

To try trajstore with it by hand, ``python tests/swift_server.py`` starts one and prints how to reach it;
``python tests/swift_server.py --install`` makes the environment and does nothing else.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "swift_requirements.txt"
REGION = "us-east-1"

Server = Literal["account", "container", "object", "proxy"]


@dataclass(frozen=True)
class User:
    """Somebody who may ask, and what for.

    Attributes
    ----------
    access_key, secret_key : str
        As S3 knows them.
    """

    access_key: str
    secret_key: str


OWNER = User("test:tester", "testing")
"""May do everything."""
READER = User("test:reader", "reading")
"""May read buckets whose access control list is ``public-read``, and nothing else."""
STRANGER = User("test:nobody", "guessing")
"""Unknown to the server."""


@dataclass(frozen=True)
class Request:
    """One request that a client sent, and what became of it.

    Attributes
    ----------
    method, path, query : str
        Of the request; the path is ``/bucket/key``.
    range : str or None
        The header.
    received, sent : int
        Bytes of the bodies.
    status : int
        Of the answer.
    """

    method: str
    path: str
    query: str
    range: str | None
    received: int
    sent: int
    status: int


class SwiftServer:
    """A running server; `start_server` makes one.

    Parameters
    ----------
    folder : Path
        Where it keeps its configuration, logs and data.
    process : subprocess.Popen
        ``swift_node.py``.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self._process = process
        self._buckets = itertools.count()
        self.endpoint = f"http://127.0.0.1:{self._hear()}"

    def client(self) -> Any:
        """A client of boto3, of the owner's."""
        import boto3  # takes a while: only where a server runs
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=OWNER.access_key,
            aws_secret_access_key=OWNER.secret_key,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}),
        )

    def options(self, user: User = OWNER) -> dict[str, str]:
        """The storage options with which a user reaches the server."""
        return {
            "endpoint": self.endpoint,
            "region": REGION,
            "access_key_id": user.access_key,
            "secret_access_key": user.secret_key,
            "allow_http": "true",
        }

    def environment(self, user: User = OWNER) -> dict[str, str]:
        """The environment variables with which a user reaches the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": user.access_key,
            "AWS_SECRET_ACCESS_KEY": user.secret_key,
            "AWS_ALLOW_HTTP": "true",
        }

    def create_bucket(self, name: str | None = None, *, is_public: bool = False) -> str:
        """Create a bucket and return its name; a public one may be read by `READER`."""
        name = name or f"bucket-{next(self._buckets)}"
        self.client().create_bucket(Bucket=name, **({"ACL": "public-read"} if is_public else {}))
        return name

    def upload(self, folder: Path, bucket: str, prefix: str = "store.zarr") -> None:
        """Copy all files of a folder into a bucket."""
        client = self.client()
        for file in folder.rglob("*"):
            if file.is_file():
                key = f"{prefix}/{file.relative_to(folder).as_posix()}"
                client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())

    def kill(self, *servers: Server) -> None:
        """Kill servers as a power cut would."""
        self._tell("kill", *servers)

    def start(self, *servers: Server) -> None:
        """Start killed servers again."""
        self._tell("start", *servers)

    def pause(self, *servers: Server) -> None:
        """Have servers accept connections and say nothing."""
        self._tell("pause", *servers)

    def resume(self, *servers: Server) -> None:
        """Have paused servers go on."""
        self._tell("resume", *servers)

    def stop(self) -> None:
        """End all servers."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            # to close it is not enough: a forked process may have it open, too
            self._process.stdin.write("end\n")
            self._process.stdin.close()
        self._process.wait()

    def data_file(self, bucket: str, key: str) -> Path:
        """The file in which the object server keeps an object.

        Raises
        ------
        FileNotFoundError
            If it keeps none.
        """
        # prefix and suffix are those of swift_node.py's swift.conf
        digest = hashlib.md5(f"trajstore/AUTH_test/{bucket}/{key}trajstore".encode()).hexdigest()
        for file in self.folder.glob(f"devices/*/objects/*/{digest[-3:]}/{digest}/*.data"):
            return file
        raise FileNotFoundError(f"{bucket}/{key}")

    def download(self, bucket: str, prefix: str, folder: Path) -> Path:
        """Copy all objects below a prefix out of the object server's own files; needs no server but the list of them.

        Returns
        -------
        Path
            The folder.
        """
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        for page in pages:
            for item in page.get("Contents", ()):
                target = folder / item["Key"].removeprefix(f"{prefix}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.data_file(bucket, item["Key"]), target)
        return folder

    @contextmanager
    def recording(self) -> Iterator[list[Request]]:
        """A list of all requests that are answered meanwhile, filled when the block ends."""
        journal = self.folder / "requests.jsonl"
        begin = journal.stat().st_size
        requests: list[Request] = []
        yield requests
        urllib.request.urlopen(f"{self.endpoint}/healthcheck").close()  # all earlier requests are noted now
        with journal.open() as file:
            file.seek(begin)
            requests += [Request(**json.loads(line)) for line in file]

    @contextmanager
    def failing(
        self, *answers: int, methods: Collection[str] = ("GET", "PUT", "POST", "HEAD"), path: str = ""
    ) -> Iterator[None]:
        """Answer requests with a cycle of statuses (500, 503 for "slow down"), 0 for those that may pass.

        Parameters
        ----------
        *answers : int
            The cycle.
        methods : collection of str
            Which requests are meant; the others pass.
        path : str
            A part of the paths that are meant.
        """
        rule = self.folder / "faults.json"
        fresh = rule.with_suffix(".fresh")
        fresh.write_text(json.dumps({"answers": answers, "methods": list(methods), "part_of_path": path}))
        fresh.replace(rule)
        try:
            yield
        finally:
            rule.unlink()

    def _tell(self, action: str, *servers: Server) -> None:
        """Have the node do something, and wait until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{action} {' '.join(servers)}\n")
        self._process.stdin.flush()
        self._hear()

    def _hear(self) -> str:
        """The node's next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"Swift has ended with {self._process.wait()}; see the logs in {self.folder}")
        return line


@contextmanager
def start_server(folder: Path) -> Iterator[SwiftServer]:
    """Start a server; it ends with the block, or with this process, however that ends.

    Parameters
    ----------
    folder : Path
        An empty folder, on a file system with extended attributes.
    """
    command = [install(), HERE / "swift_node.py", folder]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=_clean(os.environ),
        start_new_session=True,  # Ctrl-C is for this process, which ends the server when it is done with it
    )
    with process:
        server = SwiftServer(folder, process)
        try:
            yield server
        finally:
            server.stop()


def install() -> Path:
    """Make Swift's virtual environment unless it is there; of several processes one does it and the others wait.

    Returns
    -------
    Path
        Its interpreter.
    """
    cache = Path(os.environ.get("TRAJSTORE_TEST_CACHE", HERE.parents[1] / ".cache")).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"swift-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    python, complete = folder / "bin" / "python", folder / "complete"
    with (cache / "swift.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (complete.exists() and python.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            for command in (
                [sys.executable, "-m", "venv", folder],
                [
                    python,
                    "-m",
                    "pip",
                    "--quiet",
                    "--disable-pip-version-check",
                    "install",
                    "-r",
                    REQUIREMENTS,
                ],
            ):
                subprocess.run(command, check=True, env=_clean(os.environ))
            complete.touch()
    return python


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python finds the modules of its own virtual environment and no others."""
    return {name: value for name, value in environment.items() if not name.startswith("PYTHON")}


def main() -> None:
    """Run a server with a bucket until somebody presses Ctrl-C, or only install it."""
    install()
    if "--install" in sys.argv:
        return
    with tempfile.TemporaryDirectory() as folder, start_server(Path(folder)) as server:
        bucket = server.create_bucket("trajstore")
        print(f"# an empty bucket: s3://{bucket}; Ctrl-C ends the server and removes it")
        for name, value in server.environment().items():
            print(f"export {name}={value}")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
