"""One module per DVC stage: reads its files, spreads atcore's work over Ray, writes its outs.

Imports atcore, and from the folders here what computes nothing; no other stage.
"""
