"""A Django app of label ``devops`` that offers the contract of ``docs/architecture.rst``, no more.

``models`` has the tables of fuel-devops 3.0.5 and the methods that the contract names, ``driver``
what they do in libvirt, the command ``lab`` makes and erases an environment, and ``settings`` put
the app where :mod:`devops_snapshot.devops` usually is. Nothing here knows that one.
"""
