#!/usr/bin/env bash
# Installs what the project needs: system packages (as root, only the missing ones), then .venv with the project.
# A second run with an unchanged pyproject.toml does nothing. No system service is installed or started.
#   PYTHON  interpreter to make .venv with (default python3)
#   TORCH   arguments of pip for PyTorch; an unpinned one pulls gigabytes of CUDA. Where no CPU build of
#           its own is at hand: TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
torch=${TORCH:-torch==2.13.0}
stamp=.venv/.installed
wanted="$(cksum pyproject.toml scripts/bootstrap.sh) $torch"
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

have() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null; }
headers() { "$python" -c 'import os, sysconfig; exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; }

# Of MariaDB only the programs: its full package would start a service of the system's own.
missing=()
have mysqld || have mariadbd || [ -n "${INCEPTIONLOOP_MYSQLD:-}" ] || missing+=(mariadb-server-core mariadb-client-core)
have mysqldump || have mariadb-dump || missing+=(mariadb-client)
have dot || missing+=(graphviz)
have gcc || missing+=(gcc libc6-dev)
have pkg-config || missing+=(pkg-config)
have mysql_config || have mariadb_config || missing+=(default-libmysqlclient-dev)
headers || missing+=(python3-dev)
"$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ] || ! have apt-get; then
    echo "These packages are missing: ${missing[*]}" >&2
    echo "Install them first, on Debian or Ubuntu with: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  echo "Installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "Installing PyTorch ($torch) and the project into .venv; this takes some minutes"
# shellcheck disable=SC2086  # TORCH may hold several arguments
.venv/bin/pip install --quiet --disable-pip-version-check $torch
.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev,sql,web]'
echo "$wanted" > "$stamp"
