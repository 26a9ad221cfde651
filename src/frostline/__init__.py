"""Frostline: transfer learning on images that never computes a frozen layer twice."""
