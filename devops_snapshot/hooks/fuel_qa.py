"""Has the environment of a failed fuel-qa test exported, from inside fuel-qa's own Python.

This file stands alone: ``dos.py install-hook`` copies it into fuel-qa's virtual environment, which
has Python 2.7 or 3, and nothing else of its project. It waits for fuel-qa's modules to be imported,
and then wraps

* ``fuelweb_test.models.environment.EnvironmentModel.make_snapshot``, by which proboscis and pytest
  tests alike keep what has failed: once the snapshot is made, ``dos.py export-env`` takes it away;
* ``fuelweb_test.helpers.decorators.log_snapshot_after_test``, which knows the test's name, how long
  it took and what it raised.

Whatever happens here is told in the log and on standard error, and nothing else: a test fails or
passes as it would without. The variables ``DEVOPS_EXPORT_*`` are told in ``docs/fuel-qa.rst``.
"""

from __future__ import absolute_import, print_function

import collections
import contextlib
import fnmatch
import functools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

MYPY = False
if MYPY:
    from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence  # novm

    Environ = Mapping[str, str]
    Tell = Callable[[str], object]

ENVIRONMENT_MODULE = "fuelweb_test.models.environment"
DECORATORS_MODULE = "fuelweb_test.helpers.decorators"

FAILURE_PREFIXES = ("error_", "fail_", "prep_fail_")
FAILURE_DESCRIPTION = "Failed in method"
LONGEST_NAME = 50  # characters; fuel-qa cuts the names of its snapshots at the front

WHEN = ("failure", "always", "never")
DEFAULT_TIMEOUT = 1800.0  # seconds
TERM_SECONDS = 20.0  # for dos.py to undo what it has begun
SETTLE_SECONDS = 60.0
LONGEST_TRACEBACK = 16 * 1024  # characters
LONGEST_OUTPUT = 64 * 1024  # bytes

_MARK = "_devops_snapshot_hook"
_LOOK_SECONDS = 0.05
_DRAIN_SECONDS = 5.0
_NO = ("0", "no", "false", "off")

LOG = logging.getLogger("devops_snapshot.hook")
LOG.addHandler(logging.NullHandler())

_clock = getattr(time, "monotonic", time.time)  # Python 2.7 has no other
_lock = threading.RLock()
_known = threading.local()
"""``test``: the :class:`_Test` that runs in this thread, or has run last."""


# What is wanted


class Settings(object):
    """What the variables ``DEVOPS_EXPORT_*`` say; what makes no sense is told, and is the default.

    :param dos: where dos.py is, if ``DEVOPS_EXPORT_DOS`` does not say
    """

    def __init__(self, environ, dos, tell):
        # type: (Environ, Sequence[str], Tell) -> None
        def given(name):
            # type: (str) -> str
            return text(environ.get(name, "")).strip()

        self._tell = tell
        self.storage = given("DEVOPS_STORAGE")
        self.when = self._when(given("DEVOPS_EXPORT_ON"))
        self.detach = given("DEVOPS_EXPORT_DETACH").lower() not in _NO
        self.timeout = self._timeout(given("DEVOPS_EXPORT_TIMEOUT"))
        self.patterns = _items(given("DEVOPS_EXPORT_TESTS"))
        self.tags = self._tags(_items(given("DEVOPS_EXPORT_TAGS")))
        self.dos = [given("DEVOPS_EXPORT_DOS")] if given("DEVOPS_EXPORT_DOS") else list(dos)

    def wants(self, failed, names):
        # type: (bool, Sequence[str]) -> bool
        """Whether a test's environment is to be exported; ``names`` are all that the test has."""
        if self.when == "never" or (self.when == "failure" and not failed):
            return False
        return not self.patterns or any(
            fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns for name in names
        )

    def _when(self, given):
        # type: (str) -> str
        if given and given.lower() not in WHEN:
            self._tell("DEVOPS_EXPORT_ON=%s is none of %s" % (given, ", ".join(WHEN)))
        return given.lower() if given.lower() in WHEN else WHEN[0]

    def _timeout(self, given):
        # type: (str) -> float
        try:
            seconds = float(given or DEFAULT_TIMEOUT)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            self._tell("DEVOPS_EXPORT_TIMEOUT=%s is no number of seconds" % given)
            return DEFAULT_TIMEOUT
        return seconds

    def _tags(self, given):
        # type: (Sequence[str]) -> Dict[str, str]
        tags = {}
        for item in given:
            key, equals, value = item.partition("=")
            if key.strip() and equals:
                tags[text(key.strip())] = text(value.strip())
            else:
                self._tell("DEVOPS_EXPORT_TAGS: %s is not of the form key=value" % item)
        return tags


def _items(given):
    # type: (str) -> List[str]
    return [item.strip() for item in given.split(",") if item.strip()]


# Exporting


class NotExportedError(Exception):
    """What went wrong, in one line."""


def report_of(name, outcome, exception=None, trace=None, seconds=None):
    # type: (str, str, Optional[str], Optional[str], Optional[float]) -> Dict[str, Any]
    """What ``dos.py export-env --test-report`` reads, but for the tags.

    :param outcome: passed, failed, or error: failed before the test began
    """
    report = {"name": name, "outcome": outcome}  # type: Dict[str, Any]
    if exception:
        report["exception"] = text(exception)
    if trace:
        report["traceback"] = text(trace)[-LONGEST_TRACEBACK:]
    if seconds is not None:
        report["duration_seconds"] = round(max(seconds, 0.0), 3)
    return report


def export(environment, report, settings, environ, tell, snapshot=None, description=""):
    # type: (str, Dict[str, Any], Settings, Environ, Tell, Optional[str], str) -> str
    """Have an environment exported; returns the id of the export.

    :param report: see :func:`report_of`
    :param environ: of the process that does it
    :param snapshot: the one to be exported; None: dos.py takes one now
    :raises NotExportedError: dos.py says no, cannot be run, or has not ended in time
    """
    command = settings.dos + ["export-env", "--test-report=-"]
    if snapshot:
        command.append("--snapshot=" + snapshot)
    if description:
        command.append("--description=" + description)
    if settings.detach:
        command.append("--detach")
    command += ["--", environment]
    given = json.dumps(dict(report, tags=settings.tags)).encode("ascii")
    with _clock_stopped():
        done = run(command, environ, settings.timeout, given)
        if done.killed:
            settle(environment, settings, environ, tell)
    for line in done.err:
        tell(line)
    if done.code is None:
        raise NotExportedError("dos.py was ended after %g s" % settings.timeout)
    if done.code != 0 or not done.out:
        raise NotExportedError("dos.py has ended with exit code %d" % done.code)
    return text(done.out[-1])


def settle(environment, settings, environ, tell):
    # type: (str, Settings, Environ, Tell) -> None
    """Let the guests go on that a killed dos.py has suspended; no others."""
    tell("dos.py was killed: the guests that it has suspended go on")
    command = settings.dos + ["sync", "--repair", "--", environment]
    done = run(command, environ, SETTLE_SECONDS, b"")
    for line in done.err:
        tell(line)
    if done.code != 0:
        tell("that has not worked now: 'dos.py sync --repair %s' lets them go on" % environment)


def import_command(export_id, storage):
    # type: (str, str) -> str
    return "dos.py import-env %s --storage %s" % (export_id, storage)


Done = collections.namedtuple("Done", "code killed out err")
"""How a process has ended.

``code`` is None if it was out of time, ``killed`` if it had to be killed for that; ``out`` and
``err`` are the lines it has said.
"""


def run(command, environ, timeout, given):
    # type: (Sequence[str], Environ, float, bytes) -> Done
    """Run a process in a session of its own; out of time, it ends with all its children.

    :param timeout: seconds
    :param given: what it can read
    :raises NotExportedError: it cannot be run
    """
    options = {"close_fds": True, "env": dict(environ)}  # type: Dict[str, Any]
    for stream in ("stdin", "stdout", "stderr"):
        options[stream] = subprocess.PIPE
    if sys.version_info[0] > 2:
        options["start_new_session"] = True
    else:
        options["preexec_fn"] = os.setsid
    try:
        process = subprocess.Popen([_argument(part) for part in command], **options)
    except (OSError, ValueError) as error:
        raise NotExportedError("%s cannot be run: %s" % (command[0], text(str(error))))
    out, err = _Listener(process.stdout), _Listener(process.stderr)
    _background(_give, process.stdin, given)
    killed = False
    try:
        in_time = _ends(process, timeout)
    finally:  # also when the suite is interrupted
        if process.poll() is None:
            killed = _end(process)
    return Done(process.returncode if in_time else None, killed, out.lines(), err.lines())


def _ends(process, seconds):
    # type: (Any, float) -> bool
    deadline = _clock() + seconds
    while process.poll() is None:
        if _clock() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _end(process):
    # type: (Any) -> bool
    """Let a process undo what it has begun, then kill its group; returns whether it had to be."""
    _signal_group(process.pid, signal.SIGTERM)
    willing = _ends(process, TERM_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    _ends(process, _DRAIN_SECONDS)  # one that hangs in the kernel is not waited for
    return not willing


def _signal_group(group, number):
    # type: (int, int) -> None
    try:
        os.killpg(group, number)
    except OSError:  # all of them have ended
        pass


class _Listener(object):
    """Reads what a process says, and keeps the end of it."""

    def __init__(self, pipe):
        # type: (Any) -> None
        self._pipe = pipe
        self._said = b""
        self._thread = _background(self._listen)

    def lines(self):
        # type: () -> List[str]
        """To be asked once the process has ended; a child that lives on is not waited for."""
        self._thread.join(_DRAIN_SECONDS)
        return [line for line in text(self._said).splitlines() if line.strip()]

    def _listen(self):
        # type: () -> None
        with contextlib.closing(self._pipe):
            while True:
                more = os.read(self._pipe.fileno(), LONGEST_OUTPUT)
                if not more:
                    return
                self._said = (self._said + more)[-LONGEST_OUTPUT:]


def _give(pipe, given):
    # type: (Any, bytes) -> None
    try:
        with contextlib.closing(pipe):
            pipe.write(given)
    except (IOError, OSError):  # the process did not want to read it
        pass


def _background(work, *arguments):
    # type: (Callable[..., None], *Any) -> threading.Thread
    thread = threading.Thread(target=work, args=arguments)
    thread.daemon = True
    thread.start()
    return thread


@contextlib.contextmanager
def _clock_stopped():
    # type: () -> Iterator[None]
    """Inside, no alarm goes off: the time that an export takes is none of the test's."""
    seconds, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, seconds, interval)


def text(given):
    # type: (Any) -> str
    """Text of whatever kind, as JSON takes it."""
    if isinstance(given, bytes):
        return given.decode("utf-8", "replace")
    return given if isinstance(given, type("")) else "%s" % (given,)


def _argument(given):
    # type: (Any) -> Any
    """An argument of a command, which in Python 2.7 is bytes."""
    return given if isinstance(given, str) else given.encode("utf-8")


# fuel-qa


def dos_environment(environ):
    # type: (Environ) -> Dict[str, str]
    """For a dos.py that has a Python, settings and libraries of its own, and fuel-qa's database."""
    clean = {
        name: value
        for name, value in environ.items()
        if not name.startswith("PYTHON") and name not in ("DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV")
    }
    scripts = os.path.join(environ.get("VIRTUAL_ENV") or sys.prefix, "bin")
    path = environ.get("PATH", os.defpath).split(os.pathsep)
    clean["PATH"] = os.pathsep.join(item for item in path if item != scripts) or os.defpath
    clean.update(_database())
    return clean


def _database():
    # type: () -> Dict[str, str]
    """What fuel-devops, which runs in this process, has found as its database."""
    databases = getattr(sys.modules.get("devops.settings"), "DATABASES", {})
    settings = databases.get("default", {})
    return {
        "DEVOPS_DB_" + key: str(settings[key])
        for key in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")
        if settings.get(key)
    }


class _Test(object):
    """A proboscis test.

    :param name: of its function
    """

    def __init__(self, name):
        # type: (str) -> None
        self.name = name
        self.runs = True
        self.exception = None  # type: Optional[str]
        self.trace = None  # type: Optional[str]
        self._began = _clock()

    @property
    def seconds(self):
        # type: () -> float
        return _clock() - self._began

    def is_kept_as(self, snapshot):
        # type: (str) -> bool
        return ("error_" + self.name)[-LONGEST_NAME:] == snapshot[-LONGEST_NAME:]

    def failed(self):
        # type: () -> None
        self.exception, self.trace = _raised()


def _raised():
    # type: () -> Any
    """What is being handled right now: its line and its traceback."""
    kind, value, _ = sys.exc_info()
    if kind is None:
        return None, None
    return traceback.format_exception_only(kind, value)[-1].strip(), traceback.format_exc()


def _remembering(function):
    # type: (Callable[..., Any]) -> Callable[..., Any]
    """A test that is known while it runs, and by what it has raised."""

    @functools.wraps(function)
    def test(*arguments, **named):
        # type: (*Any, **Any) -> Any
        known = _known.test = _Test(function.__name__)
        try:
            return function(*arguments, **named)
        except Exception:
            _safely(known.failed)
            raise
        finally:
            known.runs = False

    return test


def _decorator(original):
    # type: (Callable[..., Any]) -> Callable[..., Any]
    """fuel-qa's decorator of its tests, for tests that are known."""

    @functools.wraps(original)
    def log_snapshot_after_test(function):
        # type: (Callable[..., Any]) -> Any
        return original(_remembering(function) if hasattr(function, "__name__") else function)

    return log_snapshot_after_test


def _snapshot_maker(original):
    # type: (Callable[..., Any]) -> Callable[..., Any]
    """fuel-qa's method, and then an export of the snapshot it has made."""

    @functools.wraps(original)
    def make_snapshot(self, *arguments, **named):
        # type: (Any, *Any, **Any) -> Any
        returned = original(self, *arguments, **named)
        _safely(_snapshot_made, self, *arguments, **named)
        return returned

    return make_snapshot


def _snapshot_made(model, snapshot_name, description="", is_make=False, *_others, **_named):
    # type: (Any, str, Optional[str], bool, *Any, **Any) -> None
    """Have it exported, if that is wanted."""
    if not is_make and not _is_always_made():
        return
    snapshot_name, description = text(snapshot_name), text(description or "")
    failed = _tells_failure(snapshot_name, description)
    settings = Settings(os.environ, _hook.dos, tell)
    if settings.when == "never" or (settings.when == "failure" and not failed):
        return
    if not settings.storage:
        _tell_once("DEVOPS_STORAGE names no storage node: nothing is exported")
        return
    report = _failed_test(snapshot_name, description) if failed else _passed_test(snapshot_name)
    if not settings.wants(failed, _names(report["name"], snapshot_name)):
        tell("%s is not exported: DEVOPS_EXPORT_TESTS has no such test" % snapshot_name)
        return
    environment = text(model.d_env.name)
    try:
        exported = export(
            environment,
            report,
            settings,
            dos_environment(os.environ),
            tell,
            snapshot=snapshot_name,
            description="" if failed else description,  # of a failure, the report says more
        )
    except NotExportedError as error:
        tell("snapshot %s of %s is not exported: %s" % (snapshot_name, environment, error))
        return
    tell("snapshot %s of %s is exported as %s" % (snapshot_name, environment, exported))
    tell("it is imported by: %s" % import_command(exported, settings.storage))


def _is_always_made():
    # type: () -> bool
    """Whether fuel-qa makes also snapshots that it is not forced to."""
    return bool(getattr(sys.modules.get("fuelweb_test.settings"), "MAKE_SNAPSHOT", False))


def _tells_failure(snapshot, description):
    # type: (str, str) -> bool
    return snapshot.startswith(FAILURE_PREFIXES) or description.startswith(FAILURE_DESCRIPTION)


def _names(test, snapshot):
    # type: (str, str) -> List[str]
    """Those by which a user may mean a test; pytest's have files and classes before them."""
    return [test, test.rpartition("::")[2], snapshot]


def _passed_test(snapshot):
    # type: (str) -> Dict[str, Any]
    known = getattr(_known, "test", None)
    if known is None or not known.runs:
        return report_of(snapshot, "passed")
    return report_of(known.name, "passed", seconds=known.seconds)


def _failed_test(snapshot, description):
    # type: (str, str) -> Dict[str, Any]
    """The failed test that a snapshot was made of: its whole name, and what it has raised."""
    known = getattr(_known, "test", None)
    if known is not None and known.is_kept_as(snapshot):
        return report_of(known.name, "failed", known.exception, known.trace, known.seconds)
    outcome = "error" if snapshot.startswith("prep_fail_") else "failed"
    node = _pytest_node()
    if node is not None:
        return _pyreport_of(node, outcome)
    exception, trace = _raised()
    return report_of(_name_of(snapshot, description), outcome, exception, trace)


def _name_of(snapshot, description):
    # type: (str, str) -> str
    """The description has the whole name, quoted or not, with ``error_`` or without."""
    named = re.match(FAILURE_DESCRIPTION + r" '?(\w+)", description)
    name = named.group(1) if named else snapshot
    for prefix in FAILURE_PREFIXES:
        if name.startswith(prefix) and name != prefix:
            return name[len(prefix) :]
    return name


def _pytest_node():
    # type: () -> Any
    """The pytest test whose end this is: fuel-qa's fixture, which calls us, has it."""
    frame = sys._getframe()  # type: Any
    while frame is not None:
        node = getattr(frame.f_locals.get("request"), "node", None)
        if hasattr(node, "nodeid") and hasattr(node, "rep_setup"):
            return node
        frame = frame.f_back
    return None


def _pyreport_of(node, outcome):
    # type: (Any, str) -> Dict[str, Any]
    reports = [getattr(node, name) for name in ("rep_setup", "rep_call") if hasattr(node, name)]
    seconds = sum(report.duration for report in reports)
    for report in reports:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            exception = text(crash.message).partition("\n")[0] if crash else None
            return report_of(node.nodeid, outcome, exception, text(report.longrepr), seconds)
    return report_of(node.nodeid, outcome, seconds=seconds)


# Saying what was done, and never more


def tell(line):
    # type: (Any) -> None
    """In the log, where fuel-qa keeps warnings only, and on standard error, whatever that is."""
    plain = str(text(line).encode("ascii", "backslashreplace").decode("ascii"))
    LOG.warning("%s", plain)
    try:
        sys.stderr.write("devops_snapshot: %s\n" % plain)
        sys.stderr.flush()
    except Exception:  # whatever stands in for standard error
        pass


_told = set()  # type: set[str]


def _tell_once(line):
    # type: (str) -> None
    with _lock:
        is_new = line not in _told
        _told.add(line)
    if is_new:
        tell(line)


def _safely(deed, *arguments, **named):
    # type: (Callable[..., None], *Any, **Any) -> None
    """Do it; what fails is told, for the test's own result is none of ours."""
    try:
        deed(*arguments, **named)
    except Exception:  # whatever it is
        tell("the hook has failed, and the test goes on:\n%s" % traceback.format_exc())


# Being there when fuel-qa's modules are imported


def _wrap_environment(module):
    # type: (Any) -> None
    _wrap(module.EnvironmentModel, "make_snapshot", _snapshot_maker)


def _wrap_decorators(module):
    # type: (Any) -> None
    _wrap(module, "log_snapshot_after_test", _decorator)


TARGETS = {
    ENVIRONMENT_MODULE: _wrap_environment,
    DECORATORS_MODULE: _wrap_decorators,
}


def _wrap(owner, name, wrapping):
    # type: (Any, str, Callable[[Any], Any]) -> None
    """Once, however often and by how many threads it is asked for."""
    with _lock:
        original = vars(owner)[name]
        if not getattr(original, _MARK, False):
            wrapper = wrapping(original)
            setattr(wrapper, _MARK, True)
            setattr(owner, name, wrapper)


def _imported(module):
    # type: (Any) -> None
    _safely(TARGETS[module.__name__], module)


class _Hook(object):
    """Finds the modules to be wrapped, by asking whoever else finds modules.

    :ivar dos: the command that ``install-hook`` has recorded
    """

    def __init__(self):
        # type: () -> None
        self.dos = ["dos.py"]
        self._busy = threading.local()

    def find_spec(self, name, path=None, target=None):
        # type: (str, Any, Any) -> Any
        """Python 3."""
        if name not in TARGETS:
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)  # type: Any
                if spec is not None:
                    if hasattr(spec.loader, "exec_module"):
                        spec.loader = _Loader(spec.loader)
                    return spec
        return None

    def find_module(self, name, path=None):
        # type: (str, Any) -> Any
        """Python 2."""
        return self if name in TARGETS and name != getattr(self._busy, "name", None) else None

    def load_module(self, name):
        # type: (str) -> Any
        """Python 2: as if this were not here, and then wrap it."""
        self._busy.name = name
        try:
            __import__(name)
        finally:
            self._busy.name = None
        _imported(sys.modules[name])
        return sys.modules[name]


class _Loader(object):
    """Loads a module as its own loader does, which the module then has; and then wraps it."""

    def __init__(self, loader):
        # type: (Any) -> None
        self._loader = loader

    def create_module(self, spec):
        # type: (Any) -> Any
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # type: (Any) -> None
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _imported(module)


_hook = _Hook()


def install(dos):
    # type: (str) -> None
    """Wait for fuel-qa's modules; what is there already is wrapped at once.

    :param dos: path of dos.py
    """
    with _lock:
        _hook.dos = [dos]
        if _hook not in sys.meta_path:
            sys.meta_path.insert(0, _hook)
    for name in TARGETS:
        if sys.modules.get(name) is not None:
            _imported(sys.modules[name])


def installed_dos():
    # type: () -> Optional[str]
    """The path of dos.py that is called; None if this hook does not wait for anything."""
    return _hook.dos[0] if _hook in sys.meta_path else None
