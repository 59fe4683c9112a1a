#!/bin/bash
# The unit's worker is there.
set -eu

wait_until is_unit_ready
