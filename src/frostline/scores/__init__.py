"""How good a classifier is: metrics, and the evaluation of a split."""
