"""What runs inside test suites, and has a failed test's environment exported.

``fuel_qa`` is for fuel-qa's own Python and imports nothing of this project: ``dos.py install-hook``
copies it (``installed``). ``pytest_plugin`` is for the suites of today. Both call ``dos.py`` as a
process, and whatever becomes of that, the test's own result stays what it is.
"""
