"""Compute real tokens only: padding is removed from the computation where the result stays exact."""
