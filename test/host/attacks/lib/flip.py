"""Flips a link between folders, as fast as it can, until it is ended: flip.py LINK TARGET…"""

import itertools
import os
import sys

link = sys.argv[1]
beside = link + ".beside"
for target in itertools.cycle(sys.argv[2:]):
    os.symlink(target, beside)
    os.rename(beside, link)
