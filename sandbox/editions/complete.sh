#!/bin/sh
# Runs on the building machine once the recipe's own part is done.
# $1: the root of the image; then, for each environment, its tool, its name and its requirements.
set -eu
root=$1
shift

# A host has one broker at a time; RabbitMQ is the one that a test asks for.
chroot "$root" systemctl --quiet disable rabbitmq-server.service

# How this machine reaches its package index is for the building only.
work=$root/tmp/environments
mkdir -p "$work"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
trap 'rm -rf "$work"; : >"$root/etc/resolv.conf"' EXIT
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
cp "$bundle" "$work/certificates.pem"

inside() {
  chroot "$root" env -i PATH=/usr/bin:/bin HOME=/tmp/environments LANG=C.UTF-8 \
    PIP_CERT=/tmp/environments/certificates.pem SSL_CERT_FILE=/tmp/environments/certificates.pem \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_QUIET=1 PIP_ROOT_USER_ACTION=ignore \
    ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL" UV_DEFAULT_INDEX="$PIP_INDEX_URL"} \
    ${https_proxy:+https_proxy="$https_proxy"} ${http_proxy:+http_proxy="$http_proxy"} \
    UV_LINK_MODE=copy UV_NO_PROGRESS=1 "$@"
}

mkdir -p "$root/srv/environments"
while [ $# -gt 0 ]; do
  tool=$1 name=$2 requirements=$3
  shift 3
  cp "$requirements" "$work/requirements.txt"
  where=/srv/environments/$tool-$name
  case $tool in
    venv)
      inside python3 -m venv "$where"
      inside "$where/bin/pip" install --requirement /tmp/environments/requirements.txt
      ;;
    uv)
      uv=/tmp/environments/uv/bin/uv
      if [ ! -e "$root$uv" ]; then
        inside python3 -m venv /tmp/environments/uv
        inside /tmp/environments/uv/bin/pip install 'uv==0.13.9'
        install -m 0755 "$root$uv" "$root/usr/local/bin/uv"
      fi
      inside "$uv" venv --quiet --python /usr/bin/python3 "$where"
      inside "$uv" pip install --quiet --python "$where/bin/python" \
        --requirement /tmp/environments/requirements.txt
      ;;
  esac
  inside "$where/bin/python" -c 'import celery; print(celery.__version__)'
done
# Whoever runs the app owns what it runs in, as on most servers.
chroot "$root" chown -R deploy: /srv/environments
