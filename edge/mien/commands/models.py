"""`mien models`: list the models, or fetch one that others publish."""

import argparse
from typing import Any

from mien.card import DEFAULT_MODEL, MODELS_DIR, model_names, read_card
from mien.files import data_dir
from mien.finder_card import FINDER_FILE, read_finder_card
from mien.published import PUBLISHED, find_damaged, find_published, is_whole


def add_to(commands: Any) -> None:
    """Add the command and its action."""
    parser = commands.add_parser("models", help="list the models, or fetch one that others publish")
    parser.set_defaults(function=_list, parser=parser)
    actions = parser.add_subparsers(metavar="[fetch NAME]")
    fetch_model = actions.add_parser("fetch", help="download a model that others publish")
    fetch_model.add_argument("name", metavar="NAME", help=f"which one: {', '.join(PUBLISHED)}")
    fetch_model.set_defaults(function=_fetch, parser=fetch_model)


def _list(_: argparse.Namespace) -> int:
    for name in model_names():
        card = read_card(MODELS_DIR / f"{name}.json")
        mark = " (default)" if name == DEFAULT_MODEL else ""
        print(f"{name}{mark}: {card.description}; {card.size_bytes / 1e6:.2f} MB")
    if FINDER_FILE.is_file():
        finder = read_finder_card(FINDER_FILE.with_suffix(".json"))
        print(f"finder: {finder.description}; {finder.size_bytes / 1e6:.2f} MB, for --detector")
    for name, published in PUBLISHED.items():
        facts = f"{published.size_bytes / 1e6:.2f} MB, {published.licence}"
        path = find_published(name) or find_damaged(name)
        if path is not None and is_whole(path, published):
            print(f"{name}: {published.description}; {facts}, in {path}")
        else:
            state = "not here" if path is None else f"{path} is damaged"
            print(f"{name}: {published.description}; {state}, `mien models fetch {name}` brings it ({facts})")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from mien.download import fetch

    published = PUBLISHED.get(arguments.name)
    if published is None:
        raise ValueError(f"unknown model {arguments.name!r}: allowed to fetch is {' or '.join(PUBLISHED)}")
    path = find_published(published.name)
    if path is not None and is_whole(path, published):
        print(f"{published.name} is here already: {path}")
        return 0
    path = fetch(published, data_dir() / "models")
    facts = f"{published.size_bytes / 1e6:.2f} MB, {published.licence}, from {published.source}"
    print(f"{path} ({facts}): `mien run --detector yunet` finds faces with it")
    return 0
