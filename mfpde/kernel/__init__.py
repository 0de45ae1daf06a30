"""The kernel matrix with which the outer weights learn, its spectrum and its rate: `python -m mfpde.kernel`."""
