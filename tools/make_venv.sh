#!/usr/bin/env bash
# Put this checkout into a virtual environment: make_venv.sh VENV REQUIREMENT CONSTRAINTS
# PYTHON=/path/to/python chooses the interpreter; else the first that is new enough is taken.
set -euo pipefail

venv=$1 requirement=$2 constraints=$3

fits() { # an interpreter that runs, is new enough, and can make virtual environments
    command -v "$1" > /dev/null &&
        "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1
}

if [ -e "$venv" ] && ! fits "$venv/bin/python"; then
    rm -rf "$venv"
fi
if [ ! -e "$venv" ]; then
    found=
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if fits "$python"; then
            found=$python
            break
        fi
    done
    if [ -z "$found" ]; then
        echo "gceshim needs Python 3.11 or newer with its venv module, and found none." >&2
        echo "Install it (Debian, Ubuntu: apt install python3 python3-venv; Fedora: dnf install python3;" >&2
        echo "macOS: brew install python), or name one: make PYTHON=/path/to/python3 ..." >&2
        exit 1
    fi
    "$found" -m venv "$venv"
fi

echo "installing $requirement into $venv ..." >&2
rm -f "$venv"/.run-* "$venv"/.test-*
export PIP_CONSTRAINT=$PWD/$constraints PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
"$venv/bin/python" -m pip install -qq -e "$requirement"
