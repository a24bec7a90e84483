"""A private S3 server on 127.0.0.1, for the tests of ``remote`` and ``store``.

``DEVOPS_TEST_S3=http://host:port`` names another one (Ceph RGW, MinIO ...) to run them against. It
must let the user of :data:`CREDENTIALS` make buckets, which nobody removes.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import boto3
from moto.server import ThreadedMotoServer
from mypy_boto3_s3 import S3Client

OTHER = os.environ.get("DEVOPS_TEST_S3", "")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret"}


@dataclass(frozen=True)
class S3Server:
    """A running server, which knows no permissions."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which boto finds it, and no setting of the user."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> S3Client:
        """One for all: it takes a third of a second to make it."""
        return self._client

    @cached_property
    def _client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def new_bucket(self) -> str:
        name = f"bucket-{secrets.token_hex(4)}"
        self.client().create_bucket(Bucket=name)
        return name


@contextmanager
def running_s3() -> Iterator[S3Server]:
    if OTHER:
        yield S3Server(OTHER)
        return
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else every request is a line
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}")
    finally:
        server.stop()
