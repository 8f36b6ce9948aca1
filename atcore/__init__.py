"""The science: from raw images to the report, a folder for each concern.

Imports no scheduler and nothing of `tasks` or `flows`; `pyproject.toml` has the order of rooms.
"""
