#!/usr/bin/env bash
# An environment of its own for the project and its peers: benchmarks/.peers. What follows the name goes to pip, for
# instance where a torch without CUDA is to be found.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv benchmarks/.peers
benchmarks/.peers/bin/pip install -c constraints.txt torch==2.13.0 disent==0.8.0 lightning==2.6.6 pennylane==0.45.1 \
    faiss-cpu==1.15.1 kornia==0.9.0 dictionary-learning==0.1.0 \
    -e '.[fast,hdf5]' "$@"
benchmarks/.peers/bin/python -c 'from benchmarks.peers import declare_operators as d; d(); import disent.metrics'
