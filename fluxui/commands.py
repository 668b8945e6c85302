"""What the command line does with the whole history: rebuild, verify, export, import.

Each takes the studio and what was typed, prints, and gives the exit code.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor, wait

from fluxui.errors import ConfigurationError, InvalidRequest
from fluxui.rebuild import Rebuilding
from fluxui.studio import Studio


def rebuild_history(studio: Studio, given: argparse.Namespace) -> int:
    told = _following(studio)
    print(f"{told.added:,} of {told.lacking:,} that the history lacked were added.")
    for sentence in told.sentences():
        print(sentence)
    return 0


def _following(studio: Studio) -> Rebuilding:
    """Rebuild, and show on stderr how far it is."""
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(studio.upkeep.rebuild)
        while not wait([ending], timeout=1).done:
            now = studio.upkeep.rebuilding
            if now.lacking and sys.stderr.isatty():
                print(f"\r\033[K{now.read:,} of {now.lacking:,} read", end="", file=sys.stderr)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        return ending.result()


def verify_history(studio: Studio, given: argparse.Namespace) -> int:
    found = studio.upkeep.verify()
    print(f"{found.records:,} records with pictures, {found.outputs:,} outputs in the storage.")
    for sentence in found.sentences():
        print(sentence)
    if found.fine:
        print("They agree.")
        return 0
    if not given.repair:
        print("Nothing was changed: python -m fluxui history verify --repair", file=sys.stderr)
        return 1
    aside = studio.upkeep.repair(found)
    print("Repaired." + (f" The records that went are in {aside}." if aside else ""))
    return 0


def export_history(studio: Studio, given: argparse.Namespace) -> int:
    try:
        with given.file.open("w", encoding="utf-8") as file:
            count = sum(1 for line in studio.upkeep.export_lines() if file.write(line))
    except OSError as error:
        raise ConfigurationError(f"{given.file} could not be written: {error.strerror}.") from None
    print(f"{count:,} records were written.")
    return 0


def import_history(studio: Studio, given: argparse.Namespace) -> int:
    if not given.file.is_file():
        raise InvalidRequest(f"There is no file {given.file}.")
    with given.file.open("rb") as file:
        told = studio.upkeep.import_lines(file)
    print(f"{told.added:,} records were added.")
    for sentence in told.sentences():
        print(sentence)
    return 0
