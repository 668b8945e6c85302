"""Inserts, updates and removes until it is killed. Says what it begins, and what is done."""

import itertools
import random
import sys
from pathlib import Path

from fluxui.history.journal import JournalStorage
from fluxui.history.table import JournalDatabase


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


database = JournalDatabase(Path(sys.argv[1]), 20_000, storage=JournalStorage)  # compacts often
keys = {document["key"]: document.doc_id for document in database}
say("ready")
for number in itertools.count():
    padding = "x" * random.randrange(800)
    if len(keys) > 10 and random.random() < 0.6:
        key, doc_id = random.choice(list(keys.items()))
        say(f"begin {key}")
        if random.random() < 0.5:
            database.remove(doc_ids=[doc_id])
            del keys[key]
            say(f"done {key} removed")
        else:
            database.update({"value": number, "padding": padding}, doc_ids=[doc_id])
            say(f"done {key} {number}")
    else:
        key = f"{sys.argv[2]}.{number}"
        say(f"begin {key}")
        keys[key] = database.insert({"key": key, "value": number, "padding": padding})
        say(f"done {key} {number}")
