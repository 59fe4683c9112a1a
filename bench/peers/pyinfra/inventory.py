"""The hosts that bench/peers measures, with how to log in."""

import json

with open("hosts.json") as file:
    hosts = [
        (
            name,
            {
                "ssh_hostname": host["address"],
                "ssh_port": host["port"],
                "ssh_user": "root",
                "ssh_key": host["key"],
                "ssh_known_hosts_file": host["knownHosts"],
                "ssh_strict_host_key_checking": "yes",
                "ssh_config_file": "/dev/null",
                "ssh_allow_agent": False,
                "ssh_look_for_keys": False,
            },
        )
        for name, host in json.load(file).items()
    ]
