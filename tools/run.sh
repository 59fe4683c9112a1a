#!/usr/bin/env bash
# Installs what a TypeScript file needs, then runs it with Node 24:
#   tools/run.sh NEED… -- SCRIPT [ARGUMENT…]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/setup.sh
source "$root/tools/setup.sh"

needs=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  needs+=("$1")
  shift
done
shift
provide "${needs[@]}" || exit 1
cd "$root"
# Without a terminal, logs contain no colours, even if CI is set.
[ -t 1 ] || [ -n "${FORCE_COLOR:-}" ] || export NO_COLOR=1
exec node "$@"
