"""The workspace: what lies where in it, and the frame of a stage that works there.

Imports atcore, console, params and processes.
"""
