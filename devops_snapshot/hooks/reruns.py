"""Whether a test that has failed is run again, by pytest-rerunfailures.

That plugin says so once all fixtures of the try have ended, which is too late for an export. Before
that it is certain where nothing but the number of tries decides.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

_PLUGIN = "rerunfailures"
_MORE_OPTIONS = ("only_rerun", "rerun_except", "max_suite_reruns")
_MORE_OF_MARKER = {"condition", "only_rerun", "rerun_except"}


def is_run_again(item: pytest.Item) -> bool:
    """Whether that is certain, of a test that has just failed."""
    plugin = item.config.pluginmanager.get_plugin(_PLUGIN)
    tries = getattr(item, "execution_count", None)  # with this one, if the plugin runs the test
    if plugin is None or tries is None or _depends_on_more(item):
        return False
    return bool(tries <= (plugin.get_reruns_count(item) or 0))


def _depends_on_more(item: pytest.Item) -> bool:
    """On the exception, also that of a fixture that is to end yet, or on all other tests."""
    marker = item.get_closest_marker("flaky")
    if marker is not None and _MORE_OF_MARKER & marker.kwargs.keys():
        return True
    for name in _MORE_OPTIONS:
        if item.config.getoption(name, None) is not None:
            return True
        with suppress(ValueError):  # the plugin's release has no such setting
            if item.config.getini(name):
                return True
    return False
