"""What a network of N neurons does: E[E_N(t)] = E(t) + c(t)/N, deviation s(t)/sqrt(N): `python -m mfpde.width`."""
