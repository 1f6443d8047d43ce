#!/usr/bin/env bash
# Makes .venv-allen, the environment in which sessions of the Allen Institute are read (docs/decisions/0005).
# A second run with unchanged requirements does nothing.
#   PYTHON_ALLEN  interpreter to make it with: Python 3.10 or 3.11 (default python3.11, else python3)
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON_ALLEN:-$(command -v python3.11 || echo python3)}
stamp=.venv-allen/.installed
wanted="$(cksum scripts/allen-requirements.txt scripts/install-allen.sh)"
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

if ! "$python" -c 'import sys; exit(not (3, 10) <= sys.version_info < (3, 12))'; then
  echo "allensdk needs Python 3.10 or 3.11, and $python is $("$python" --version)" >&2
  echo "Install one, and name it: PYTHON_ALLEN=/path/to/python3.11 make install-allen" >&2
  exit 1
fi
echo "Installing allensdk into .venv-allen (1 GB); this takes some minutes"
rm -rf .venv-allen
"$python" -m venv .venv-allen
.venv-allen/bin/pip install --quiet --disable-pip-version-check --requirement scripts/allen-requirements.txt
.venv-allen/bin/python -W ignore -c 'from allensdk.brain_observatory.ecephys.ecephys_project_cache import EcephysProjectCache'
echo "$wanted" > "$stamp"
