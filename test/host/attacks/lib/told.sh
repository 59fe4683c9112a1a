#!/bin/sh
# A Python of the app's: says as whom it runs, and answers as it likes.
id -un >>/var/tmp/ran-as
case $* in
  *metadata*) echo '{"pip": "1"}' ;;
  *prefix*) echo '["/srv/roots/venv", "/usr", "/srv/app/own/venv/bin/python"]' ;;
esac
