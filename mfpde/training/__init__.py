"""Training in stages: averages of copies, the linear stage and the spectrum of its kernel matrix."""
