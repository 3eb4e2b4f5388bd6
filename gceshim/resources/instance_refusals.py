"""
compute.instances: verbs that CloudStack cannot carry out, answered with the reason.

A 400 and not a 501, as gcloud tries a 501 again for half a minute.
"""

from __future__ import annotations

from gceshim.protocol.errors import UnsupportedRequest
from gceshim.resources.base import Body, Collection, method
from gceshim.resources.call import Call
from gceshim.resources.on_instance import named


class InstanceRefusals(Collection, name="instances", scope="zone", needs=("instances", "locations")):
    """A machine that is not there is a 404 here too."""

    @method
    async def suspend(self, call: Call) -> Body:
        await named(self, call)
        raise UnsupportedRequest("CloudStack cannot suspend a machine; stop it instead.")

    @method
    async def resume(self, call: Call) -> Body:
        await named(self, call)
        raise UnsupportedRequest("CloudStack cannot suspend machines, so there is nothing to resume; start it instead.")

    @method
    async def get_serial_port_output(self, call: Call) -> Body:
        await named(self, call)
        raise UnsupportedRequest("CloudStack records no output of serial ports.")

    @method
    async def simulate_maintenance_event(self, call: Call) -> Body:
        await named(self, call)
        raise UnsupportedRequest("Only CloudStack's administrators can move machines off their hosts.")
