#!/usr/bin/env bash
# What only root can do for a container host: a folder of its own, a network of its own, a cgroup of
# its own, and systemd-nspawn in them. container.ts calls it, as root or by 'sudo -n'.
#
#   container.sh probe                         can this machine run one? exit code 0, or why not
#   container.sh start FOLDER LOWER NUMBER OWNER SIZE
#                                              LOWER: folders of the lower layers, the top one first;
#                                              NUMBER: where to look for a free network; OWNER: the
#                                              process that it ends with, 0 for none; SIZE: of its
#                                              disk, as for a tmpfs
#   container.sh on|off FOLDER                 power; 'off' as when the plug is pulled
#   container.sh fresh FOLDER                  off, and on again with an empty disk
#   container.sh remove FOLDER                 all of it, also what a killed start has left
#   container.sh cut|mend FOLDER               the network cable
#   container.sh freeze|thaw FOLDER            every process in it
#   container.sh keep FOLDER TARGET            a copy of what it has written, a layer for others
#   container.sh delete FOLDER                 a folder that root has filled
#
# A supervisor holds the mounts and the network in namespaces: they go when it ends, however it ends.
# The disk is a tmpfs: it has a size, so a full one hurts nobody else.
set -euo pipefail
umask 022

# Left of the range that is set aside for tests of networks: no host has such an address.
readonly network=198.18

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# --- cgroups -------------------------------------------------------------------------------------

# Where the v2 hierarchy is: alone, or beside v1.
unified_root() {
  if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
    echo /sys/fs/cgroup
  elif [ "$(stat -fc %T /sys/fs/cgroup/unified 2>/dev/null)" = cgroup2fs ]; then
    echo /sys/fs/cgroup/unified
  else
    return 1
  fi
}

# The hierarchies that a systemd writes to.
hierarchies() {
  unified_root
  if [ -d /sys/fs/cgroup/systemd ]; then echo /sys/fs/cgroup/systemd; fi
}

cgroup_of() {
  echo "celeriac-$(printf '%s' "$1" | sha256sum | cut -c1-12)"
}

make_cgroup() {
  local root
  for root in $(hierarchies); do mkdir -p "$root/$1"; done
  # What the host's systemd may hand on to its own units, where v2 has the controllers.
  if [ -w "$(unified_root)/cgroup.subtree_control" ]; then
    for controller in cpu memory pids io; do
      echo "+$controller" 2>/dev/null >"$(unified_root)/cgroup.subtree_control" || true
    done
  fi
}

enter_cgroup() {
  local root
  for root in $(hierarchies); do echo "$2" >"$root/$1/cgroup.procs"; done
}

# Ends all that is in it, and waits until it is gone.
kill_cgroup() {
  local root folder
  root=$(unified_root)
  [ -d "$root/$1" ] || return 0
  # A frozen process dies all the same.
  echo 1 >"$root/$1/cgroup.kill"
  until grep -qx 'populated 0' "$root/$1/cgroup.events"; do sleep 0.01; done
  for root in $(hierarchies); do
    [ -d "$root/$1" ] || continue
    while read -r folder; do rmdir "$folder" 2>/dev/null || true; done \
      < <(find "$root/$1" -depth -type d)
  done
}

# --- the supervisor ------------------------------------------------------------------------------

# Runs in namespaces of its own until it is killed, or until its owner ends.
supervise() {
  local folder=$1 lower=$2 owner=$3 size=$4 cgroup code
  cgroup=$(cgroup_of "$folder")
  ip link set lo up
  insert_disk "$folder" "$lower" "$size"
  # Open before anybody may say anything, and for ever: no word is lost.
  exec 3<>"$folder/power"
  [ "$owner" = 0 ] || end_with "$owner" "$cgroup" &
  echo $$ >"$folder/pid.new"
  mv "$folder/pid.new" "$folder/pid"
  until [ -e "$folder/address" ]; do sleep 0.01; done
  while read -r word <&3; do
    if [ "$word" = fresh ]; then
      umount "$folder/root" "$folder/disk"
      insert_disk "$folder" "$lower" "$size"
    else
      code=133
      # 133: it wants to boot again.
      while [ "$code" = 133 ]; do
        make_cgroup "$cgroup"
        code=0
        run_host "$folder" "$cgroup" || code=$?
      done
      echo "the host ended ($code)" >>"$folder/console.log"
    fi
  done
}

insert_disk() {
  local folder=$1 lower=$2 size=$3
  mount -t tmpfs -o "size=$size,mode=755" sandbox "$folder/disk"
  mkdir "$folder/disk/upper" "$folder/disk/work"
  # Without redirects a folder of a lower layer can't be renamed, as it can be on any disk.
  mount -t overlay sandbox "$folder/root" \
    -o "redirect_dir=on,lowerdir=$lower,upperdir=$folder/disk/upper,workdir=$folder/disk/work"
  # Its root is no disk that could be checked or mounted.
  if grep -q '^/dev/vda ' "$folder/root/etc/fstab"; then
    sed -i '\#^/dev/vda #d' "$folder/root/etc/fstab"
  fi
}

end_with() {
  while kill -0 "$1" 2>/dev/null; do sleep 1; done
  kill -KILL $$
  kill_cgroup "$2"
}

run_host() {
  local folder=$1 cgroup=$2
  (
    enter_cgroup "$cgroup" "$BASHPID"
    export SYSTEMD_NSPAWN_TMPFS_TMP=0
    # A small VPS has one, and a worker without --concurrency starts a child for each.
    echo 0 >"$folder/processors"
    exec systemd-nspawn --quiet --boot --directory="$folder/root" \
      --register=no --keep-unit --network-namespace-path=/proc/self/ns/net \
      --capability=CAP_NET_ADMIN \
      --bind-ro="$folder/processors:/sys/devices/system/cpu/online" --hostname="$(cat "$folder/root/etc/hostname")" \
      --resolv-conf=off --timezone=off --link-journal=no --console=pipe
  ) </dev/null 3<&- >>"$folder/console.log" 2>&1
}

# --- verbs ---------------------------------------------------------------------------------------

start() {
  local folder=$1 lower=$2 number=$3 owner=$4 size=$5 pid
  mkdir -p "$folder/disk" "$folder/root"
  mkfifo -m 600 "$folder/power"
  : >>"$folder/console.log"
  setsid unshare --mount --net --propagation private \
    bash "${BASH_SOURCE[0]}" supervise "$folder" "$lower" "$owner" "$size" \
    </dev/null >>"$folder/console.log" 2>&1 &
  pid=$!
  until [ -e "$folder/pid" ]; do
    kill -0 "$pid" 2>/dev/null || fail "$(tail -n 5 "$folder/console.log")"
    sleep 0.01
  done
  connect "$folder" "$number"
  tell "$folder" on
  echo "$pid $(cat "$folder/address")"
}

# A pair of interfaces, the free one next after the number; its name is the claim to its addresses.
connect() {
  local folder=$1 number=$2 pid tries link='' ours theirs
  pid=$(cat "$folder/pid")
  for ((tries = 0; tries < 500; tries++)); do
    number=$(((number + 1) % 32768))
    link=celeriac$number
    ! ip link add "$link" type veth peer name eth0 netns "$pid" 2>/dev/null || break
    link=''
  done
  [ -n "$link" ] || fail 'no network interface could be made for the host'
  ours=$network.$((number / 128)).$((number % 128 * 2))
  theirs=$network.$((number / 128)).$((number % 128 * 2 + 1))
  ip addr add "$ours/31" dev "$link"
  ip link set "$link" up
  nsenter --net --target "$pid" ip addr add "$theirs/31" dev eth0
  nsenter --net --target "$pid" ip link set eth0 up
  printf '%s %s %s\n' "$theirs" "$ours" "$link" >"$folder/address.new"
  mv "$folder/address.new" "$folder/address"
}

tell() {
  echo "$2" 1<>"$1/power"
}

power_off() {
  kill_cgroup "$(cgroup_of "$1")"
}

# Also what is left of one whose starter was killed at any moment.
remove() {
  local folder=$1 pid
  for pid in $(supervisors "$folder"); do kill -KILL "$pid" 2>/dev/null || true; done
  power_off "$folder"
  for pid in $(supervisors "$folder"); do
    while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
  done
  delete "$folder"
}

supervisors() {
  local path words
  for path in /proc/[0-9]*/cmdline; do
    mapfile -d '' -t words <"$path" 2>/dev/null || continue
    [ "${words[*]:2:2}" = "supervise $1" ] || continue
    path=${path#/proc/}
    echo "${path%/cmdline}"
  done
}

# Packets go to a neighbour that is not there, both ways: connections hang, and no route changes.
cut_link() {
  local pid theirs ours link
  pid=$(cat "$1/pid")
  read -r theirs ours link <"$1/address"
  ip neigh replace "$theirs" lladdr 02:00:00:00:00:01 nud permanent dev "$link"
  nsenter --net --target "$pid" \
    ip neigh replace "$ours" lladdr 02:00:00:00:00:01 nud permanent dev eth0
}

mend_link() {
  local pid theirs ours link
  pid=$(cat "$1/pid")
  read -r theirs ours link <"$1/address"
  ip neigh del "$theirs" dev "$link"
  nsenter --net --target "$pid" ip neigh del "$ours" dev eth0
}

freeze() {
  echo "$2" >"$(unified_root)/$(cgroup_of "$1")/cgroup.freeze"
}

keep() {
  nsenter --mount --target "$(cat "$1/pid")" cp -a "$1/disk/upper" "$2"
}

delete() {
  rm -rf --one-file-system "$1"
}

# Tries what a start needs, in namespaces that are gone at once.
probe() {
  local root name
  command -v systemd-nspawn >/dev/null || fail 'systemd-nspawn is not installed (package systemd-container)'
  command -v ip >/dev/null || fail 'ip is not installed (package iproute2)'
  root=$(unified_root) || fail 'this machine has no cgroup v2'
  name=celeriac-probe-$$
  mkdir "$root/$name" 2>/dev/null || fail "no cgroup can be made in $root"
  [ -e "$root/$name/cgroup.kill" ] && [ -e "$root/$name/cgroup.freeze" ] || root=''
  rmdir "$(unified_root)/$name"
  [ -n "$root" ] || fail 'the kernel is too old (cgroup.kill came with 5.14)'
  # shellcheck disable=SC2016 # the inner shell's own words
  unshare --mount --net --propagation private sh -euc '
    folder=$(mktemp -d)
    trap "umount -l \"$folder\"; rmdir \"$folder\"" EXIT
    mount -t tmpfs sandbox "$folder"
    mkdir "$folder/lower" "$folder/upper" "$folder/work" "$folder/root"
    mount -t overlay -o "redirect_dir=on,lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work" sandbox "$folder/root"
    umount "$folder/root"
    ip link add probe0 type veth peer name probe1
  ' >/dev/null 2>&1 || fail 'namespaces, an overlay or a pair of network interfaces cannot be had here'
  grep -qw memory "$(unified_root)/cgroup.controllers" && echo memory
  return 0
}

case ${1:-} in
  probe) probe ;;
  start) start "$2" "$3" "$4" "$5" "$6" ;;
  supervise) supervise "$2" "$3" "$4" "$5" ;;
  on) tell "$2" on ;;
  off) power_off "$2" ;;
  fresh)
    power_off "$2"
    tell "$2" fresh
    tell "$2" on
    ;;
  remove) remove "$2" ;;
  cut) cut_link "$2" ;;
  mend) mend_link "$2" ;;
  freeze) freeze "$2" 1 ;;
  thaw) freeze "$2" 0 ;;
  keep) keep "$2" "$3" ;;
  delete) delete "$2" ;;
  *) fail "unknown verb '${1:-}': see the head of ${BASH_SOURCE[0]}" ;;
esac
