"""LoRAs: what is there, what a file holds, and its tensors in the one form that the merge takes.

Files are read by content, never unpickled. This folder knows a base model only by the names and
sizes of its layers; only `canonical.py` imports torch.
"""
