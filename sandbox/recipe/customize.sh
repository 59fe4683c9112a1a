#!/bin/sh
# Runs on the building machine once every package is installed.
# $1: the root of the image; RECIPE: this folder; LOGIN_KEY: the public key that may log in.
set -eu
root=$1

# Files: owned by root, modes independent of the builder's umask.
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
cp -R "$RECIPE/files/." "$staging/"
chmod -R u=rwX,go=rX "$staging"
chmod 0440 "$staging/etc/sudoers.d/deploy"
chmod 0700 "$staging/root"
tar -C "$staging" --owner=0 --group=0 --numeric-owner -cf - . | tar -C "$root" -xpf -

# Users: all log in with the same key; only deploy may become root.
for user in deploy nosudo; do
  chroot "$root" useradd --create-home --shell /bin/bash "$user"
done
install_key() { # user, home
  mkdir -p "$root$2/.ssh"
  cp "$LOGIN_KEY" "$root$2/.ssh/authorized_keys"
  chmod 0700 "$root$2/.ssh"
  chmod 0600 "$root$2/.ssh/authorized_keys"
  chroot "$root" chown -R "$1:$1" "$2/.ssh"
}
install_key root /root
install_key deploy /home/deploy
install_key nosudo /home/nosudo

# The login's message of the day runs a dozen processes that nobody reads.
sed -i -E '/pam_(motd|mail)\.so/d' "$root/etc/pam.d/sshd" "$root/etc/pam.d/login"

# The journal survives a reboot, as on a rented host.
mkdir -p "$root/var/log/journal"

# Ten looks a second at nothing are a twentieth of an emulated processor.
sed -i -E 's/^hz .*/hz 1/; s/^activerehashing .*/activerehashing no/' "$root/etc/redis/redis.conf"
grep -qx 'hz 1' "$root/etc/redis/redis.conf"

# mmdebstrap leaves how the builder reaches its mirror; the host has no way out anyway.
rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/apt.conf.d/99mmdebstrap"
: >"$root/etc/resolv.conf"

grep -v '^#' "$RECIPE/masked-units.txt" | while read -r unit; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/etc/systemd/system-generators"
grep -v '^#' "$RECIPE/masked-generators.txt" | while read -r generator; do
  ln -sf /dev/null "$root/etc/systemd/system-generators/$generator"
done
for unit in sandbox-network ssh redis-server slideshow-web; do
  chroot "$root" systemctl --quiet enable "$unit.service"
done

# A job database for those tests that start it.
chroot "$root" systemctl --quiet disable postgresql.service

chroot "$root" python3 -m compileall -q /usr/local/lib/python3.11/dist-packages

# The app's checkout, as its owner would have cloned it.
chroot "$root" sh -eu -c '
  cd /root/slideshow
  export HOME=/root GIT_AUTHOR_DATE=2026-01-10T12:00:00Z GIT_COMMITTER_DATE=2026-01-10T12:00:00Z
  git config --global user.name slideshow
  git config --global user.email slideshow@localhost
  git init --quiet --initial-branch=main
  git add --all
  git commit --quiet --message="Slideshow backend"
  cd backend
  python3 -c "import store; store.create()"
  python3 -m compileall -q .
'
