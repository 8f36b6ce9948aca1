"""Test-set variants: functions of the test images that destroy shape or texture.

Imports base and images.
"""
