"""Prefect flows that run the DVC graph in parallel on a Ray cluster.

Imports tasks.cluster and tasks.processes; no torch and nothing of atcore.
"""

import tasks  # noqa: F401  # Has Ctrl-C end in one line.
