"""Where cells are computed: processes of this machine, or actors of a Ray cluster.

Cells are independent, locked and resumable, so `pool` only hands them out, tries them again and
gives up. What a worker is, a process or an actor, is behind `pool.Slot`.
"""

EXECUTORS = ("local", "ray")
"""Names of `--executor`."""
