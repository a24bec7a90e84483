"""The admin site: records to be read, and nothing of it in the devops database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.bed import Postgres

from .databases import DUMP

CHECKOUT = Path(__file__).parents[2]
BROWSE = """
import django
django.setup()
from django.contrib.auth.models import User
from django.test import Client
User.objects.create_superuser("reader", password="x")
client = Client(HTTP_HOST="localhost")
assert client.get("/devops/node/").status_code == 302
assert client.login(username="reader", password="x")
for page in {pages}:
    answer = client.get(page)
    print(answer.status_code, page)
    for name in {names}:
        if name in answer.content.decode():
            print(name)
"""


def django(home: Path, *arguments: str, **more: str) -> str:
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    env = {**kept, "HOME": str(home), "PYTHONPATH": str(CHECKOUT), **more}
    env["DJANGO_SETTINGS_MODULE"] = "devops_snapshot.settings_admin"
    done = subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def browse(*pages: str, names: tuple[str, ...] = ()) -> str:
    return BROWSE.format(pages=pages, names=names)


def test_users_have_a_database_of_their_own(tmp_path: Path) -> None:
    (tmp_path / ".devops").mkdir()
    for name in ("default", "admin"):
        django(tmp_path, "-m", "django", "migrate", "--database", name)
    ours = tables(tmp_path / ".devops/devops.sqlite3")
    theirs = tables(tmp_path / ".devops/admin.sqlite3")
    assert {"devops_node", "devops_snapshot_export"} <= ours
    assert {"auth_user", "django_session", "django_content_type"} <= theirs
    assert {name.partition("_")[0] for name in ours} == {"devops", "django", "sqlite"}
    assert not {name for name in ours if name.startswith("django")} - {"django_migrations"}
    assert not {name for name in theirs if name.startswith("devops")}


def test_records_can_be_read_and_not_changed(postgres: Postgres, tmp_path: Path) -> None:
    # as that of a fuel-devops whose server is not set to UTC
    postgres.query("ALTER DATABASE fuel_devops SET timezone = 'Asia/Kolkata'")
    postgres.load(DUMP)
    postgres.query("UPDATE devops_environment SET created = '2026-01-02 03:04:05' WHERE id = 1")
    (tmp_path / ".devops").mkdir()
    for name in ("default", "admin"):
        django(tmp_path, "-m", "django", "migrate", "--database", name, **postgres.outside_env)
    assert postgres.query("SELECT tablename FROM pg_tables WHERE tablename LIKE 'auth%'") == []
    pages = [
        *("/devops/environment/", "/devops/node/", "/devops/node/2/change/", "/devops/group/"),
        *("/devops/volume/", "/devops/addresspool/", "/devops/l2networkdevice/", "/devops/driver/"),
        *("/devops_snapshot/export/", "/devops_snapshot/import/", "/devops_snapshot/storagenode/"),
        *("/devops_snapshot/environmentsnapshot/", "/devops/node/add/"),
    ]
    names = ("Jan. 2, 2026, 3:04 a.m.", "blade-1", "golden.deployed", 'name="_save"')
    script = browse(*pages, names=names)
    answers = django(tmp_path, "-c", script, **postgres.outside_env).splitlines()
    assert [line for line in answers if line[:4] in {"200 ", "403 "}] == [
        *(f"200 {page}" for page in pages[:-1]),
        f"403 {pages[-1]}",
    ]
    assert "Jan. 2, 2026, 3:04 a.m." in answers
    assert "blade-1" in answers
    assert "golden.deployed" in answers
    assert 'name="_save"' not in answers


def test_nobody_reads_without_logging_in(tmp_path: Path) -> None:
    (tmp_path / ".devops").mkdir()
    django(tmp_path, "-m", "django", "migrate", "--database", "admin")
    script = (
        "import django; django.setup(); from django.test import Client;"
        "print(Client(HTTP_HOST='localhost').get('/devops/node/').status_code)"
    )
    assert django(tmp_path, "-c", script) == "302\n"
