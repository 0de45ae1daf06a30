"""Stages that are known by the moments of w: averages of copies, their kernel matrix, and the linear flow that it drives."""
