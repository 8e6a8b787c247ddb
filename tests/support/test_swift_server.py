from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from support.faults import wait_until
from support.swift_server import SwiftServer

START_AND_WAIT = """
import sys, time
from pathlib import Path
from support.swift_server import start_server
with start_server(Path(sys.argv[1])) as server:
    print(server.endpoint, flush=True)
    time.sleep(600)
"""


def listens(endpoint: str) -> bool:
    """Whether somebody accepts connections."""
    url = urlsplit(endpoint)
    with socket.socket() as sock:
        return sock.connect_ex((url.hostname, url.port)) == 0


def test_server_ends_with_the_process_that_started_it_even_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START_AND_WAIT, tmp_path]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        assert listens(endpoint)
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not listens(endpoint))


def test_faults_and_records_are_what_clients_meet(swift: SwiftServer, bucket: str) -> None:
    client = swift.client()
    with swift.recording() as requests, swift.failing(0, 503, methods=["PUT"]):
        client.put_object(Bucket=bucket, Key="key", Body=b"value")
        client.put_object(Bucket=bucket, Key="key", Body=b"value")  # boto3 tries again
    assert [request.status for request in requests] == [200, 503, 200]
    assert [request.received for request in requests] == [5, 5, 5]
    swift.kill("object")
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        client.get_object(Bucket=bucket, Key="key")
    swift.start("object")
    assert client.get_object(Bucket=bucket, Key="key")["Body"].read() == b"value"
    assert swift.data_file(bucket, "key").read_bytes() == b"value"
