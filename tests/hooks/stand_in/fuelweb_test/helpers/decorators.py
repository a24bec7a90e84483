"""Stand-in for fuel-qa's decorator of its tests."""

import functools


def log_snapshot_after_test(function):
    """Keeps the environment of a test that fails."""

    @functools.wraps(function)
    def wrapper(*arguments, **named):
        try:
            return function(*arguments, **named)
        except Exception:
            keep_environment("error_" + function.__name__, arguments[0].env)
            raise

    return wrapper


def keep_environment(name, environment):
    """The logs come first, which often fails: what is handled then is not what the test raised."""
    try:
        raise EnvironmentError("no logs from the admin node")  # noqa: UP024 # Python 2.7
    except EnvironmentError:  # noqa: UP024
        environment.make_snapshot(
            snapshot_name=name[-50:],
            description="Failed in method {:s}.".format(name),  # noqa: UP032
            is_make=True,
        )
