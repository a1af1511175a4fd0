"""The simulator held against figures that are known exactly."""
