"""Features of neurons: what of a neuron enters f, and how the residual of f moves it.

`protocol` says what a basis of functions of x and its features are; `hermite` is one, for Gaussian x; `bases` names them for the
configuration.  Who trains, records or draws knows the protocol alone.
"""
