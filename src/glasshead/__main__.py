"""The program `glasshead`. Its command `predict` runs without Kedro; all other commands import Kedro."""

from pathlib import Path

import click

from glasshead.serving.command import predict


class Commands(click.Group):
    """`predict` and the commands of `glasshead.cli`, which is imported only on demand, as Kedro takes seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["predict", "run"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == predict.name:
            return predict
        from kedro.framework.project import configure_project

        from glasshead.cli import cli

        configure_project(Path(__file__).parent.name)
        return cli.get_command(ctx, cmd_name)


@click.group("glasshead", cls=Commands)
def main() -> None:
    """Image classifiers you can see through."""


if __name__ == "__main__":
    main()
