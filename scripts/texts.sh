#!/usr/bin/env bash
# Sets up, builds, and prepares token folders of text that Debian and Ubuntu ship; prints name, folder, tokens and hash.
#   scripts/texts.sh [--out DIR] [NAME…]     without NAME all three; DIR/NAME is the folder (default runs/texts)
#   english-bytes  the GNU dictionary (package dict-gcide, 40 MB), a byte a token
#   english-bpe    the same in a BPE vocabulary of 4,096, which is learnt from its training part alone
#   code-bytes     C and documentation of the kernel (package linux-source, 47 MB of it), a byte a token
# A folder that is there is kept, also when apt has brought a newer package since. SCALEVEC: a program that is built
# already. Without root it prints the apt command that is missing, and ends.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { echo "usage: scripts/texts.sh [--out DIR] [english-bytes] [english-bpe] [code-bytes]" >&2; exit 2; }
out=runs/texts names=()
while (($#)); do
  case $1 in
    --out) (($# > 1)) || usage; out=$2; shift 2 ;;
    english-bytes | english-bpe | code-bytes) names+=("$1"); shift ;;
    *) usage ;;
  esac
done
((${#names[@]})) || names=(english-bytes code-bytes english-bpe)

packages=()
for name in "${names[@]}"; do
  [[ -f $out/$name/data.json ]] && continue
  if [[ $name == code-bytes ]]; then packages+=(linux-source xz-utils bzip2); else packages+=(dict-gcide); fi
done
scripts/bootstrap.sh ${packages[@]+"${packages[@]}"}
program=${SCALEVEC:-build/cpu/bin/scalevec}
[[ -n ${SCALEVEC:-} ]] || scripts/build.sh cpu scalevec
mkdir -p "$out"

# The kernel's core and the English documentation, each file whole, in the order of the names' bytes.
kernel_text() {
  local package archive top work=$1.work
  package=$(dpkg-query -W -f='${Depends}' linux-source | sed 's/[ ,(].*//')
  archive=$(dpkg -L "$package" | awk '/\/linux-source[^\/]*\.tar\.[a-z0-9]+$/ && !n++')
  top=$(basename "$archive" | sed 's/\.tar\..*//')
  rm -rf "$work"
  mkdir "$work"
  tar -xf "$archive" -C "$work" --strip-components=1 "$top"/{Documentation,block,init,io_uring,ipc,kernel,lib,mm}
  (cd "$work" && find . -type f \( -name '*.[ch]' ! -path './Documentation/*' -o -path './Documentation/*' -name '*.rst' \
    ! -path './Documentation/translations/*' \) -print0 | LC_ALL=C sort -z | xargs -0 cat) >"$1"
  rm -rf "$work"
}

# once FILE COMMAND…: a FILE that is there is whole.
once() {
  [[ -f $1 ]] || { "${@:2}" "$1.part" && mv "$1.part" "$1"; }
}
dictionary_text() { gzip -dc "$(dpkg -L dict-gcide | awk '/\/gcide\.dict\.dz$/ && !n++')" >"$1"; }
# Two bytes a token after a header of 1,024. A few stray bytes of the dictionary are not UTF-8; they become U+FFFD, as
# SentencePiece reads them.
training_text() {
  python3 -c 'import sys
text = b"".join(open(f, "rb").read()[1024::2] for f in sys.argv[1:])
sys.stdout.buffer.write(text.decode("utf-8", "replace").encode())' "$out"/english-bytes/train_*.bin >"$1"
}
learn() { "$program" data train-tokenizer --text "$out/english-training.txt" --vocab 4096 --out "$1" >/dev/null; }

prepare() {
  local folder=$out/$1
  [[ -f $folder/data.json ]] && return
  case $1 in
    english-bytes)
      once "$out/english.txt" dictionary_text
      "$program" data prepare --text "$out/english.txt" --out "$folder" >/dev/null ;;
    code-bytes)
      once "$out/code.txt" kernel_text
      "$program" data prepare --text "$out/code.txt" --out "$folder" >/dev/null ;;
    english-bpe)
      prepare english-bytes
      once "$out/english.txt" dictionary_text
      once "$out/english-training.txt" training_text
      once "$out/english-4096.model" learn
      "$program" data prepare --text "$out/english.txt" --tokenizer "sentencepiece:$out/english-4096.model" --out "$folder" >/dev/null ;;
  esac
}
for name in "${names[@]}"; do
  prepare "$name"
  python3 - "$name" "$out/$name" <<'PYTHON'
import json, sys
name, folder = sys.argv[1:]
data = json.load(open(folder + "/data.json"))
print(f"{name:13} {folder}  {data['train']['tokens']:,} training and {data['val']['tokens']:,} validation tokens, "
      f"vocabulary {data['vocab_size']}, sha256 {data['sha256']}")
PYTHON
done
