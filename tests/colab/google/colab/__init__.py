"""Colab, as far as the notebook can tell: the shell's name, the vault, and the drive."""
