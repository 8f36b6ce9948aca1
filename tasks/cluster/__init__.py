"""Ray: the one place that connects to it, and work that survives lost machines.

Imports atcore, console and processes.
"""
