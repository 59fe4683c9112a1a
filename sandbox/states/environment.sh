#!/bin/bash
# A worker as it should be, run from a virtual environment of its own; /srv/wheels has something to
# install into it, as nothing leads out of this host.
set -eu

environment=/srv/venv

python3 -m venv --system-site-packages "$environment"

mkdir /srv/wheels
python3 -I - <<'PYTHON'
import zipfile

for version in ("1.0", "2.0", "3.0"):
    info = "probe_package-%s.dist-info" % version
    path = "/srv/wheels/probe_package-%s-py3-none-any.whl" % version
    with zipfile.ZipFile(path, "w") as wheel:
        names = ["probe_package.py", *(info + name for name in ("/METADATA", "/WHEEL", "/RECORD"))]
        # So many that an installation has a middle.
        for number in range(3000 if version == "3.0" else 0):
            wheel.writestr("probe_data/%d.py" % number, "NUMBER = %d\n" % number)
            names.append("probe_data/%d.py" % number)
        wheel.writestr("probe_package.py", "VERSION = %r\n" % version)
        about = "Metadata-Version: 2.1\nName: probe-package\nVersion: %s\n" % version
        wheel.writestr(info + "/METADATA", about)
        tags = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(info + "/WHEEL", tags)
        wheel.writestr(info + "/RECORD", "".join(name + ",,\n" for name in names))
PYTHON

install_worker root /root/slideshow/backend \
  "$environment/bin/python -m celery -A celery_app worker --loglevel=info --concurrency=1 -Q celery,batch,links,variations"
