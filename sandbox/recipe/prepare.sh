#!/bin/sh
# Runs on the building machine before the bulk of the packages is installed.
# $1: the root of the image.
set -eu
root=$1

# The initrd needs nothing but the disk's driver and, so that nobody waits for it, the network's:
# a small one boots faster.
mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\nCOMPRESS=gzip\nRESUME=none\n' >"$root/etc/initramfs-tools/conf.d/sandbox"
printf 'virtio_pci\nvirtio_blk\nvirtio_net\n' >"$root/usr/share/initramfs-tools/modules.d/sandbox"
