"""A private PostgreSQL server on a host of the bed, empty or with a database of fuel-devops."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import psycopg2

from .host import Host
from .user import GAMES

NAME = "fuel_devops"  # of the database, its user and the password, as fuel-devops has them
START_TIMEOUT = 30.0  # seconds
CONFIG = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{directory}'
timezone = '{timezone}'
fsync = off
shared_buffers = 16MB
"""


class Postgres:
    """:ivar env: the variables with which ``dos.py`` on that host uses this server
    :param timezone: of the server and its sessions
    """

    def __init__(self, host: Host, *, timezone: str = "UTC") -> None:
        self.host = host
        self.directory = host.directory / "postgres"
        self.data = self.directory / "data"
        self.port = 5432 if host.namespaces else _free_port()
        self._user = GAMES if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._start(timezone)
        self.reset()
        self.env = {
            "DEVOPS_DB_ENGINE": "django.db.backends.postgresql",
            "DEVOPS_DB_NAME": NAME,
            "DEVOPS_DB_USER": NAME,
            "DEVOPS_DB_PASSWORD": NAME,
            "DEVOPS_DB_HOST": "127.0.0.1",
            "DEVOPS_DB_PORT": str(self.port),
        }
        #: The same for processes outside of the host's namespaces: by the Unix socket.
        self.outside_env = self.env | {"DEVOPS_DB_HOST": str(self.directory)}

    def connect(self, *, database: str = NAME) -> psycopg2.extensions.connection:
        """A connection from outside, in autocommit mode."""
        connection = psycopg2.connect(
            host=str(self.directory), port=self.port, user=NAME, dbname=database
        )
        connection.autocommit = True
        return connection

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """The rows that a statement gives."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def load(self, dump: Path) -> None:
        """Load a dump of ``pg_dump`` into the database."""
        command = ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.directory)]
        command += ["-p", str(self.port), "-U", NAME, "-d", NAME]
        self.host.run(command, input=dump.read_text())

    def reset(self) -> None:
        """Make the database new and empty."""
        connection = self.connect(database="postgres")
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
                cursor.execute(f"CREATE DATABASE {NAME}")
        finally:
            connection.close()

    def _start(self, timezone: str) -> None:
        programs = _programs()
        self.directory.mkdir()
        if self._user:
            self._user.owns(self.directory)
        as_user = self._user.runs() if self._user else []
        options = ["--no-sync", "--auth=trust", f"--username={NAME}", "--encoding=UTF8"]
        initdb = [str(programs / "initdb"), *options, str(self.data)]
        self.host.run(initdb if self.host.user else [*as_user, *initdb])
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(
                CONFIG.format(port=self.port, directory=self.directory, timezone=timezone)
            )
        log = self.host.directory / "postgres.log"
        server = [*as_user, str(programs / "postgres"), "-D", str(self.data)]
        self.host.compartment.daemon(server, env=self.host.env, log=log)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.connect(database="postgres").close()
                return
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{error}\n{log.read_text()}") from error
                time.sleep(0.02)


def _programs() -> Path:
    """Where Debian puts the server's programs, of the newest version installed."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
