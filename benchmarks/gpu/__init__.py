"""What one GPU makes of CIFAR-10: speed against other libraries, and networks with their answers.

`workspace` makes images and variants on the CPUs, `speed` measures, `networks` trains and asks; all
of it by `atcore` alone, with the settings of `params.yaml`.
"""
