"""A fixed mesh in an affine frame for each slice, with transport, `discretization.frame = "affine"`."""
