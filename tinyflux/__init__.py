"""How the embedded model was made: scenes, training, evaluation.

Nothing in `fluxui` imports this package; deleting it breaks nothing there.
"""
