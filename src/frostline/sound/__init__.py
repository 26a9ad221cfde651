"""Sounds as pictures: decoding, windows, log-mel spectrograms, and views of them."""
