"""The answer with its error: a resolution that reaches a wanted accuracy, and how far E(t) is from the truth.

Every direction of the discretisation (labels a_0 and r_0, each component of y, the Hermite truncation, the time step) is
studied alone, on elements that are coarse in all the others, by real runs until the next refinement changes E(t) by less than
the direction's share.  These runs cost little: the elements are tensor products, so coarse ones are few.  The main run takes
the levels that the studies found; each level's error has been measured against a finer one, feedback through the flow included.
A second run on coarser levels in all directions at once measures what the single studies cannot see: how they act together.
"""
