"""Detached exports of users without root, for whom the worker does what takes root.

On the user's side the spool is ``asked``, by ``requests`` that go over a ``wire``. On the worker's
there is somebody ``listening`` at a socket; the ``desk`` answers, and ``pool_files`` opens what is
to be taken, as far as libvirt would let the user read it.
"""
