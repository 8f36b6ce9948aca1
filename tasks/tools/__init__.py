"""Commands beside the stages: raw images to download, results to show.

Imports atcore, console, params and workspace.
"""
