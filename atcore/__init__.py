"""The science: attacks, training, variants, evaluation, salience. Knows no scheduler."""
