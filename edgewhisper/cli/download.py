"""`edgewhisper download`: fetch a checkpoint ahead of a build without network."""

import click

from edgewhisper.errors import UsageError

from .outputs import print_result


@click.command(short_help="Download a checkpoint, for a later build without network.")
@click.argument("model")
@click.option("--revision", metavar="REV", help="A branch, tag or commit of the hub's repository.")
def download(model: str, revision: str | None) -> None:
    """Download the checkpoint MODEL (a card's name or a hub id) into the hub's cache and print its folder.

    \b
    Examples:
      edgewhisper download tiny.en
      edgewhisper download openai/whisper-base --revision main
    """
    from edgewhisper.models.cards import find_card
    from edgewhisper.models.hub import download as download_checkpoint

    hub_id = model if "/" in model else find_card(model).hub_id
    if hub_id is None:
        raise UsageError(f"{model}: is bundled, there is nothing to download")
    print_result(download_checkpoint(hub_id, revision=revision))
