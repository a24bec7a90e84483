"""Private keys in files: which of them need a passphrase, and which an SSH agent holds."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import paramiko

_KINDS = (paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey)


def locked(files: Iterable[str]) -> list[str]:
    """Return the key files that need a passphrase and are not held by an agent either."""
    return [file for file in files if _needs_passphrase(file) and not held([file])]


def held(files: Iterable[str]) -> list[paramiko.AgentKey]:
    """Return the keys of the SSH agent that are those of some files, told by ``<file>.pub``."""
    keys = {key.get_base64(): key for key in paramiko.Agent().get_keys()}
    return [keys[public] for public in map(_public, files) if public in keys]


def _needs_passphrase(file: str) -> bool:
    for kind in _KINDS:
        try:
            kind.from_private_key_file(file)
        except paramiko.PasswordRequiredException:
            return True
        except (paramiko.SSHException, OSError, ValueError):  # another kind, or no key at all
            continue
    return False


def _public(file: str) -> str:
    """Return the public half in base64, empty where there is none beside the file."""
    with suppress(OSError, ValueError, IndexError):
        return Path(f"{file}.pub").read_text().split()[1]
    return ""
