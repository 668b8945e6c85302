"""fluxui: generate with your own FLUX LoRAs, and keep every picture.

Importing this package loads nothing heavy; the doors import what they need.
"""

__version__ = "0.1.0"
