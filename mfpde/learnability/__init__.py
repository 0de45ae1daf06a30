"""What a network can learn of a polynomial, exactly and before any run: `python -m mfpde.learnability`."""
