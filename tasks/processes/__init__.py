"""Processes: that end with whoever started them, and the one that holds a workspace.

Imports nothing of the project.
"""
