#!/bin/sh
# Creates the virtual environment and installs the library with its extras, as pinned in
# constraints.txt. Called by the Makefile; settings: PYTHON, VENV, TORCH_CPU_INDEX.
set -eu

python=${PYTHON:-python3}
venv=${VENV:-.venv}
cpu_index=${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}
torch=$(sed -n 's/^torch==/torch==/p' constraints.txt)

if ! command -v "$python" >/dev/null 2>&1; then
    echo "error: '$python' was not found; install Python 3.10 or newer, or name one: make PYTHON=python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "error: Python 3.10 or newer is needed, '$python' is $("$python" -V 2>&1 | cut -d' ' -f2); name another: make PYTHON=python3.12" >&2
    exit 1
fi

# -qq leaves errors only.
quiet_pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check -qq "$@"
}

has_nvidia_gpu() {
    [ -e /dev/nvidia0 ] || { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; }
}

# A CPU build alone, without its dependencies: those come with the library, from the usual indexes.
install_cpu_torch() {
    quiet_pip install --no-deps "$torch+cpu" >/dev/null 2>&1 ||
        quiet_pip install --no-deps --timeout 15 --retries 1 --index-url "$cpu_index" "$torch+cpu" >/dev/null 2>&1
}

if [ ! -x "$venv/bin/python" ]; then
    echo "creating $venv with $("$python" -V 2>&1)"
    "$python" -m venv "$venv"
fi

if ! "$venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
    echo "installing $torch"
    if [ "$(uname -s)" = Linux ] && ! has_nvidia_gpu; then
        install_cpu_torch ||
            echo "no CPU build of $torch found: installing the default one, which is large"
    fi
fi

echo "installing gsp-unroll and what it needs"
quiet_pip install -c constraints.txt -e ".[train,eval,plot,examples,raw,amg,dev]"
"$venv/bin/python" -c 'import torch; print("installed: torch", torch.__version__)'
