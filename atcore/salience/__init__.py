"""Salience: which pixels a network's score of the true class depends on, drawn and measured.

`maps` has the methods, `measures` what is asked of a map, `explain` puts both together for a few
images and their variants, and `table` is how the measures lie on disk.
"""
