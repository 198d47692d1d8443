"""`evac address`: where the ping monitor asks a VM, besides what its cluster and the config say."""

from __future__ import annotations

import click

from evac.model import VM
from tui.commands import show
from tui.commands.acting_vms import named
from tui.commands.completing import complete_vms
from tui.commands.exits import Code
from tui.commands.session import engine, read_fleet, run


@click.command("address")
@click.argument("vm", metavar="VM", shell_complete=complete_vms)
@click.argument("address", metavar="ADDRESS")
@click.option("--remove", is_flag=True, help="Take it back.")
@click.option("--cluster", default="", help="Look for the name in this cluster only.")
@show.as_json
@click.pass_context
def address_command(
    ctx: click.Context, /, *, vm: str, address: str, remove: bool, cluster: str, as_json: bool
) -> None:
    """Have a VM pinged at another address too, in every move, until it is taken back.

    ADDRESS is 192.0.2.7 or 2001:db8::7 (ICMP), 192.0.2.7:22 or [2001:db8::7]:22 (TCP).
    """

    async def task() -> Code:
        async with engine(ctx.obj) as client:
            view = await read_fleet(client, cluster=cluster)
            (row,) = named(view, (vm,), cluster)
            assert isinstance(row, VM)
            answer = await client.type_address(row.cluster, row.id, address, remove=remove)
            if as_json:
                show.print_json({"vm": answer.vm, "cluster": answer.cluster, "addresses": answer.addresses})
            else:
                also = (
                    f"asked at {', '.join(answer.addresses)} as well"
                    if answer.addresses
                    else "no typed address"
                )
                show.say(f"{row.name}: {also}.")
            return Code.DONE

    ctx.exit(run(task))
