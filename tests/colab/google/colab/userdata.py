"""The vault, filled by the test; `null` is a secret that this notebook may not read."""

import json
import os


class SecretNotFoundError(Exception):
    pass


class NotebookAccessError(Exception):
    pass


def get(key: str) -> str:
    vault = json.loads(os.environ["COLAB_VAULT"])
    if key not in vault:
        raise SecretNotFoundError(key)
    if vault[key] is None:
        raise NotebookAccessError(key)
    return str(vault[key])
