"""`edgewhisper models`: the checkpoints that are known by name."""

import dataclasses
import json

import click

from edgewhisper.errors import MissingDependencyError

from .outputs import print_result

COLUMNS = ("name", "from", "languages", "mel bins", "layers", "width", "parameters")


@click.command(short_help="List the models that can be built by name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every dimension.")
def models(as_json: bool) -> None:
    """List the models that 'edgewhisper build' knows by name.

    Sizes are estimates of the weights in each precision, in MB of 1,000,000 bytes. 'draft' is the model that suits as
    a draft for speculative decoding.

    \b
    Examples:
      edgewhisper models
      edgewhisper models --json
    """
    from edgewhisper.models.cards import CARDS, PRECISIONS

    if as_json:
        cards = [
            dataclasses.asdict(card)
            | {"parameters": card.parameters, "bytes": {name: card.size(name) for name in PRECISIONS}}
            for card in CARDS
        ]
        print_result(json.dumps(cards, indent=1))
        return
    try:
        from tabulate import tabulate
    except ImportError:
        raise MissingDependencyError(
            "the table needs tabulate; run 'pip install edgewhisper[build]', or add --json"
        ) from None
    rows = [
        (
            card.name,
            card.hub_id or "bundled",
            card.languages,
            card.dimensions.n_mels,
            f"{card.dimensions.encoder_layers}+{card.dimensions.decoder_layers}",
            card.dimensions.d_model,
            f"{card.parameters / 1e6:,.1f} M",
            *(f"{card.size(name) / 1e6:,.0f}" for name in PRECISIONS),
            card.licence,
            card.draft or "",
        )
        for card in CARDS
    ]
    sizes = [f"{name} MB" for name in PRECISIONS]
    aligned = ("left", "left", *["right"] * (len(COLUMNS) - 2 + len(sizes)), "left", "left")
    print_result(
        tabulate(rows, [*COLUMNS, *sizes, "licence", "draft"], disable_numparse=True, colalign=aligned)
    )
