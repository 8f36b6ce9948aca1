"""From tables to numbers, figures, sentences and one page; no network is needed.

Imports base, statistics, quality, evaluation, salience and measures.
"""
