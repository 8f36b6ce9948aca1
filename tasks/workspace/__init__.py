"""The workspace: where things lie in it.

Imports atcore.base, atcore.images and atcore.networks.
"""
