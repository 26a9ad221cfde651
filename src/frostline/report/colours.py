"""The colours of the report and of its pictures: one thing has one colour everywhere.

After Okabe and Ito: the colour-blind can tell them apart, and so can a grey print, by the dashes.
Each has a second form for dark pages, where the first would be hard to see.
"""

INK, DIM, GRID = "#1d2733", "#5b6875", "#dde3e9"
VALIDATION, TRAINING, PROBE = "#0b66b0", "#b8500a", "#0a7d5c"
RIGHT, WRONG = (20, 120, 190), (214, 96, 20)

INK_ON_DARK, DIM_ON_DARK, GRID_ON_DARK = "#e4e9ee", "#9aa7b4", "#333d48"
VALIDATION_ON_DARK, TRAINING_ON_DARK, PROBE_ON_DARK = "#62b0f2", "#f0a05f", "#4cc79d"
RIGHT_ON_DARK, WRONG_ON_DARK = (64, 150, 226), (224, 120, 50)
