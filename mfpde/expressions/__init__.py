"""Expressions that a user writes: read and checked, parsed once, with their code, kinks, ranges and derivatives."""
