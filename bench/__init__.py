"""Speed: the same work done by our kernels and by other means, side by side in one process."""
