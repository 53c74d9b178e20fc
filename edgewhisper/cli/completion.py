"""`edgewhisper completion`: the script that teaches a shell to complete the command."""

import click
from click.shell_completion import get_completion_class

from edgewhisper.errors import UsageError

from .outputs import print_result

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print a script for completion in bash, zsh or fish.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete edgewhisper's sub-commands and options.

    \b
    Examples:
      edgewhisper completion bash > ~/.local/share/bash-completion/completions/edgewhisper
      edgewhisper completion zsh > "${fpath[1]}/_edgewhisper"
      edgewhisper completion fish > ~/.config/fish/completions/edgewhisper.fish
    """
    generator = get_completion_class(shell)
    if generator is None:
        raise UsageError(f"no completion for the shell '{shell}'; choose one of {', '.join(SHELLS)}")
    print_result(generator(context.find_root().command, {}, "edgewhisper", "_EDGEWHISPER_COMPLETE").source())
