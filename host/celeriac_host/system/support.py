"""The module that workers load, and its folders: one for each version, named by its content."""

from __future__ import annotations

MODULE = "celeriac_support"
ROOT = "/usr/local/lib/celeriac"
# Of the module's SHA-256, which begin with the name of its folder.
DIGITS = 12
# The name of a version's folder, as a regular expression.
VERSION = rf"[0-9a-f]{{{DIGITS}}}"
# The folder of any version; older units name the root, which had one module for all.
FOLDER = rf"{ROOT}(?:/{VERSION})?"
