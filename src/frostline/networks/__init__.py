"""Pretrained networks and their facts, one module a source."""
