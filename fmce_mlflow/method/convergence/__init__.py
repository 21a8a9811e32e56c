"""From a loss sequence to a convergence point, epoch markers and FMCS labels; needs NumPy alone."""
