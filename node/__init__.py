"""Hedgerow: an OpenStack cloud in one daemon."""

__version__ = "0.1.0"
