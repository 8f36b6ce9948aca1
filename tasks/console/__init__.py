"""Commands, their errors and their progress, as a user sees them.

Imports atcore.base and processes.
"""
