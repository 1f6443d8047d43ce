#!/usr/bin/env bash
# Makes the passwords of docker-compose.yml that are missing, each in a file of secrets/ that only you can read,
# and .env, by which the user of the containers has your number and can read them. Run again, it changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077

# Containers do not run as root: whom root's files are for is the image's own user.
user=$(id -u)
[ "$user" != 0 ] || user=1000

mkdir -p secrets
for name in $(sed -n 's|^ *file: ./secrets/||p' docker-compose.yml); do
  [ ! -s "secrets/$name" ] || continue
  # Without a new line at the end, which Jupyter would take for a part of its token.
  head -c 33 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' > "secrets/$name.new"
  [ "$(id -u)" != 0 ] || chown "$user" "secrets/$name.new"
  mv "secrets/$name.new" "secrets/$name"
  echo "made secrets/$name"
done
[ -e .env ] || echo "INCEPTIONLOOP_USER_ID=$user" > .env
