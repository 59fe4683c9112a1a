#!/usr/bin/env bash
# Installs what the repository's commands need, and reports in one line what it cannot install.
#
#   tools/setup.sh NEED…      (see setup_needs below)
#
# System packages are installed with apt-get (as root or with `sudo -n`), everything else in a private
# folder, ${CELERIAC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/celeriac}. When sourced, this file defines
# `provide NEED…`, which also adds what it found or installed to PATH.

setup_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
setup_cache=${CELERIAC_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/celeriac}

node_version=$(<"$setup_root/.node-version")
node_oldest=24.2.0
act_version=0.2.87
actionlint_version=1.7.12
declare -A node_integrity=(
  [x64]='sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q=='
  [arm64]='sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g=='
)
setup_needs='node24 npm python pytest linters python-linters qemu image-tools containers act browser peers generated'

say() {
  printf 'setup: %s\n' "$*" >&2
}

has() {
  command -v "$1" >/dev/null 2>&1
}

# at_least OLDEST VERSION
at_least() {
  printf '%s\n%s\n' "$1" "$2" | sort -CV
}

# Prepends a folder to PATH, once.
use() {
  case ":$PATH:" in
    *":$1:"*) ;;
    *) PATH=$1:$PATH ;;
  esac
}

# attempt WHAT LOG COMMAND…: prints one line; the output of the command goes to a log file.
attempt() {
  local what=$1 log=$setup_cache/logs/$2.log
  shift 2
  say "$what…"
  mkdir -p "${log%/*}"
  "$@" >"$log" 2>&1 </dev/null || {
    say "$what: failed; see $log"
    return 1
  }
}

# --- system packages -----------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

may_install_packages() {
  has apt-get && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

apt_install() {
  local -a command=(apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@")
  # The package lists may be missing or outdated.
  as_root "${command[@]}" || { as_root apt-get update && as_root "${command[@]}"; }
}

install_packages() {
  if may_install_packages; then
    attempt "installing $* (apt)" apt apt_install "$@"
  else
    say "missing: $*; this user is neither root nor can use 'sudo -n':" \
      "run 'sudo apt-get install $*'"
    return 1
  fi
}

# The missing system packages of a need, one per line.
lacking() {
  case $1 in
    node24) has npm || echo npm ;;
    npm) has npm || echo npm ;;
    python) has python3 || echo python3 ;;
    linters) has shellcheck || ! may_install_packages || echo shellcheck ;;
    python-linters) lacking_venv ;;
    pytest) lacking_pytest ;;
    act) has go || lacking_venv ;;
    peers) lacking_venv ;;
    qemu)
      has qemu-system-x86_64 || echo qemu-system-x86
      has qemu-img || echo qemu-utils
      has ssh || echo openssh-client
      ;;
    image-tools)
      has mmdebstrap || echo mmdebstrap
      has mke2fs || echo e2fsprogs
      [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
      [ "$(id -u)" = 0 ] || has newuidmap || echo uidmap
      ;;
    containers) lacking_for_containers ;;
    browser) browser_is_there || echo chromium ;;
  esac
}

# As tools/find-browser.ts finds it.
browser_is_there() {
  [ -n "${CHROME_PATH:-}" ] || has chromium || has chromium-browser || has google-chrome ||
    has google-chrome-stable
}

# Container hosts need root: a user who cannot install packages could not start one either.
lacking_for_containers() {
  may_install_packages || return 0
  has systemd-nspawn || echo systemd-container
  has ip || echo iproute2
}

lacking_venv() {
  has python3 || echo python3
  python3 -c 'import ensurepip' >/dev/null 2>&1 || echo python3-venv
}

# Where tests run as root, without the help of sudo, it may be missing.
can_check_sudoers() {
  [ "$(id -u)" != 0 ] || has visudo
}

lacking_pytest() {
  local python
  local -a pythons
  can_check_sudoers || echo sudo
  mapfile -t pythons < <(oldest_and_newest_python)
  [ ${#pythons[@]} -gt 0 ] || lacking_venv
  for python in "${pythons[@]}"; do
    "$python" -c 'import ensurepip' >/dev/null 2>&1 || echo "${python##*/}-venv"
  done
}

# --- the private folder --------------------------------------------------------------------------

# A tool's folder has the version in its name, and a stamp once it is complete.
is_whole() {
  [ -e "$1/.whole" ]
}

start_folder() {
  rm -rf "$1" && mkdir -p "$1"
}

finish_folder() {
  touch "$1/.whole"
}

node_architecture() {
  case $(uname -m) in
    x86_64) echo x64 ;;
    aarch64 | arm64) echo arm64 ;;
    *) echo unknown ;;
  esac
}

node_folder() {
  echo "$setup_cache/tools/node-$node_version"
}

node_is_new_enough() {
  local version
  version=$(node --version 2>/dev/null) && at_least "$node_oldest" "${version#v}"
}

install_node() {
  local architecture folder package
  architecture=$(node_architecture)
  folder=$(node_folder)
  package=node-linux-$architecture
  if [ -z "${node_integrity[$architecture]:-}" ]; then
    say "Node $node_oldest or newer is missing: install Node 24 for $(uname -m) yourself"
    return 1
  fi
  start_folder "$folder"
  attempt "installing Node $node_version (npm)" node24 \
    npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund \
    "$package@$node_version" || return 1
  if ! grep -qF "\"${node_integrity[$architecture]}\"" "$folder/node_modules/.package-lock.json"; then
    say "$package@$node_version is not used: its hash differs from the one pinned in tools/setup.sh"
    rm -rf "$folder"
    return 1
  fi
  ln -s "node_modules/$package/bin" "$folder/bin"
  finish_folder "$folder"
}

lock_hash() {
  sha256sum <"$setup_root/package-lock.json"
}

modules_are_in_step() {
  local stamp=$setup_root/node_modules/.celeriac-lock
  [ -e "$stamp" ] && [ "$(<"$stamp")" = "$(lock_hash)" ]
}

install_modules() {
  attempt 'installing node_modules (npm)' npm \
    npm ci --prefix "$setup_root" --ignore-scripts --no-audit --no-fund || return 1
  lock_hash >"$setup_root/node_modules/.celeriac-lock"
}

# The folder of a set of Python packages, named by the hash of its requirements and their includes.
venv_folder() {
  local hash
  hash=$(cd "$setup_root/tools/requirements" &&
    sed -n 's/^-r //p' "$1.txt" | xargs cat "$1.txt" | sha256sum)
  echo "$setup_cache/tools/$1-${hash:0:12}"
}

install_venv() {
  local folder
  folder=$(venv_folder "$1")
  start_folder "$folder"
  attempt "installing $1 (pip)" "$1" fill_venv python3 "$folder" "$1" || return 1
  finish_folder "$folder"
}

# fill_venv PYTHON FOLDER REQUIREMENTS
fill_venv() {
  "$1" -m venv "$2" &&
    "$2/bin/pip" install --disable-pip-version-check --require-hashes \
      -r "$setup_root/tools/requirements/$3.txt"
}

# --- the Pythons for the tests of the host program --------------------------------------------------

# Every python3.N on PATH and in pyenv, as `N PATH`, oldest first.
python_candidates() {
  local folder file minor
  local -a folders
  IFS=: read -ra folders <<<"$PATH"
  for folder in "${folders[@]}" "${PYENV_ROOT:-${HOME:-/root}/.pyenv}"/versions/*/bin; do
    for file in "$folder"/python3.*; do
      minor=${file##*/python3.}
      if [[ $minor =~ ^[0-9]+$ ]] && [ -x "$file" ]; then
        echo "$minor $file"
      fi
    done
  done | sort -n -s -k1,1
}

# Its version if it works: pyenv has shims on PATH that run nothing.
python_version() {
  "$1" -I -c 'import sqlite3, sys
assert sys.version_info >= (3, 8) and sys.version_info.releaselevel == "final"
print(".".join(map(str, sys.version_info[:3])))' 2>/dev/null
}

# Paths, one per line: the oldest Python from 3.8 on, and the newest if it is a different one.
oldest_and_newest_python() {
  local oldest newest
  oldest=$(python_candidates | first_python)
  newest=$(python_candidates | sort -n -r -s -k1,1 | first_python)
  printf '%s\n' "$oldest" "$newest" | sed '/^$/d' | uniq
}

first_python() {
  local minor file found=
  while read -r minor file; do
    if [ -z "$found" ] && [ "$minor" -ge 8 ] && python_version "$file" >/dev/null; then
      found=$file
    fi
  done
  echo "$found"
}

# The folder of pytest for one Python.
pytest_folder() {
  echo "$(venv_folder pytest)-$(python_version "$1")"
}

pytest_is_there() {
  local python folder found=
  while read -r python; do
    folder=$(pytest_folder "$python")
    # A removed Python leaves broken links behind.
    is_whole "$folder" && [ -x "$folder/bin/python" ] || return 1
    found=$found:$folder/bin/python
  done < <(oldest_and_newest_python)
  export CELERIAC_PYTEST_PYTHONS=${found#:}
  [ -n "$found" ]
}

install_pytest() {
  local python folder
  while read -r python; do
    folder=$(pytest_folder "$python")
    start_folder "$folder"
    attempt "installing pytest for ${python##*/} (pip)" "pytest-${python##*/}" \
      fill_venv "$python" "$folder" pytest || return 1
    finish_folder "$folder"
  done < <(oldest_and_newest_python)
}

go_folder() {
  echo "$setup_cache/tools/$1"
}

# install_with_go NAME MODULE@VERSION
install_with_go() {
  local folder
  folder=$(go_folder "$1")
  start_folder "$folder"
  attempt "building $1 (go)" "$1" env GOBIN="$folder/bin" GOFLAGS=-trimpath go install "$2" ||
    return 1
  finish_folder "$folder"
}

act_is_new_enough() {
  local version
  version=$(act --version 2>/dev/null) && at_least "$act_version" "${version##* }"
}

install_act() {
  if has go && install_with_go "act-$act_version" "github.com/nektos/act@v$act_version"; then
    return 0
  fi
  install_venv act && return 0
  say "act $act_version is missing: put it on PATH (it is a single program), then try again"
  return 1
}

actionlint_is_there() {
  [ "$(actionlint --version 2>/dev/null | head -n 1)" = "v$actionlint_version" ] ||
    [ "$(actionlint --version 2>/dev/null | head -n 1)" = "$actionlint_version" ]
}

install_actionlint() {
  local module=github.com/rhysd/actionlint/cmd/actionlint@v$actionlint_version
  if has go && install_with_go "actionlint-$actionlint_version" "$module"; then
    return 0
  fi
  install_venv actionlint && return 0
  say "actionlint $actionlint_version is missing: install Go or put actionlint on PATH"
  return 1
}

# --- needs ---------------------------------------------------------------------------------------

# Whether a need is met; adds its private folder to PATH.
is_ready() {
  case $1 in
    node24)
      is_whole "$(node_folder)" && use "$(node_folder)/bin"
      node_is_new_enough
      ;;
    npm) has npm && modules_are_in_step ;;
    python) has python3 && use_real_python ;;
    pytest) can_check_sudoers && pytest_is_there ;;
    linters)
      use_tools "$(venv_folder shellcheck)" "$(venv_folder actionlint)" \
        "$(go_folder "actionlint-$actionlint_version")"
      has shellcheck && actionlint_is_there
      ;;
    python-linters)
      use_tools "$(venv_folder linters)"
      is_whole "$(venv_folder linters)"
      ;;
    act)
      act_is_new_enough && return 0
      use_tools "$(venv_folder act)" "$(go_folder "act-$act_version")"
      act_is_new_enough
      ;;
    peers)
      is_whole "$(venv_folder peers)" || return 1
      # Not on PATH: it has a Python of its own.
      CELERIAC_PEERS=$(venv_folder peers)/bin
      export CELERIAC_PEERS
      ;;
    qemu | image-tools | containers | browser) [ -z "$(lacking "$1")" ] ;;
    *) false ;;
  esac
}

# pyenv's python3 is a script that takes as long as the Python that it finds and starts.
use_real_python() {
  local folder
  [ "$(head -c 2 "$(command -v python3)")" = '#!' ] || return 0
  folder=$(python3 -I -c 'import os, sys; print(os.path.dirname(sys.executable))') || return 1
  [ ! -x "$folder/python3" ] || use "$folder"
}

use_tools() {
  local folder
  for folder in "$@"; do
    is_whole "$folder" && use "$folder/bin"
  done
  return 0
}

# Installs anything but a system package.
bring() {
  case $1 in
    node24) install_node ;;
    npm) install_modules ;;
    linters)
      has shellcheck || install_venv shellcheck || return 1
      actionlint_is_there || install_actionlint
      ;;
    python-linters) install_venv linters ;;
    pytest) install_pytest ;;
    peers) install_venv peers ;;
    act) install_act ;;
    generated) node "$setup_root/tools/generate.ts" ;;
    *) true ;;
  esac
}

# provide NEED…: installs all of them and adds them to PATH, or prints the reason and returns 1.
provide() {
  local need failed=0
  local -a missing=() packages=()
  use_system_folders
  for need in "$@"; do
    case " $setup_needs " in
      *" $need "*) ;;
      *)
        say "unknown need: $need; expected $setup_needs"
        return 1
        ;;
    esac
    is_ready "$need" || missing+=("$need")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    mkdir -p "$setup_cache"
    exec 9>"$setup_cache/setup.lock"
    flock -n 9 || { say 'waiting for another setup to finish…' && flock 9; }
    mapfile -t packages < <(for need in "${missing[@]}"; do
      is_ready "$need" || lacking "$need"
    done | sort -u)
    [ ${#packages[@]} = 0 ] || install_packages "${packages[@]}" || failed=1
    if [ "$failed" = 0 ]; then
      for need in "${missing[@]}"; do
        is_ready "$need" || { bring "$need" && settle "$need"; } || failed=1
      done
    fi
    exec 9>&-
  fi
  export PATH
  return "$failed"
}

# What was installed must now be found.
settle() {
  hash -r
  [ "$1" = generated ] || is_ready "$1" || {
    say "$1 was installed but is not found on PATH"
    return 1
  }
}

# mke2fs and similar programs are not on every user's PATH.
use_system_folders() {
  local folder
  for folder in /usr/sbin /sbin; do
    case ":$PATH:" in
      *":$folder:"*) ;;
      *) PATH=$PATH:$folder ;;
    esac
  done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  provide "$@"
fi
