"""Files, tables on disk, random numbers, and the error that a user can mend.

Imports nothing else of the project, nor torch.
"""
