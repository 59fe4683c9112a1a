"""The worker of bench/peers: its files, its service, and what is asked of both."""

import json

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.facts.server import Command
from pyinfra.operations import files, systemd

with open("state.json") as file:
    state = json.load(file)

for each in state["files"]:
    files.put(
        name=each["title"],
        src=each["source"],
        dest=each["path"],
        user="root",
        group="root",
        mode="644",
    )

systemd.service(name="The worker runs", service=state["unit"], running=True, enabled=True)

# As facts: operations of commands always count as a change, and would take a second turn.
for each in state["questions"]:
    said = host.get_fact(Command, command=each["command"])
    if said != each["answer"]:
        raise DeployError(f"{each['title']}: {said!r}, not {each['answer']!r}")
