"""Real tokens only: padding leaves the computation where that is exact."""
