"""Images on disk: which there are, how they split, how they become pixels."""
