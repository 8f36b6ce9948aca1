"""Beside the stages: raw images to download, what was prepared and found to show.

Imports atcore, console, params and workspace.
"""
