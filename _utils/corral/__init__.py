"""Corral: hypervisors, switches, images, guests and pools kept as declared, by Salt."""

__version__ = "0.1.0"
