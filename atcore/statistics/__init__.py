"""Shares, means and differences, each with its interval; p-values.

Imports base.
"""
