"""One module per DVC stage: reads its files, spreads atcore's work over Ray, writes its outs."""
