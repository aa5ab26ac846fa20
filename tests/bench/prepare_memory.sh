#!/bin/sh
# The peak memory of `bittern prepare` on a text that is made on the fly: it must stay below 1 GiB for any size.
#
#   tests/bench/prepare_memory.sh build/release/bittern [GIGABYTES (5)] [FOLDER (/tmp)]
#
# Takes a good three times the size on the disk, and prints one line per form of the input: plain text, and JSON lines in
# gzip. Needs GNU time (package `time`).
set -eu
bittern=$1
gigabytes=${2:-5}
folder=$(mktemp -d "${3:-/tmp}/bittern_memory_XXXXXX")
trap 'rm -rf "$folder"' EXIT INT TERM

# Words of a made-up language with Zipf-like frequencies, and numbers, which never end being new.
make_text() {
  awk -v bytes="$(awk "BEGIN { printf \"%.0f\", $gigabytes * 1e9 }")" -v json="$1" 'BEGIN {
    split("ka to mi re sun dal or en vi sha lu pen ga ist ur bel", syllable, " ")
    for (i = 1; i <= 50000; ++i) { word[i] = ""; for (n = i; n > 0; n = int(n / 16)) word[i] = word[i] syllable[n % 16 + 1] }
    for (made = 0; made < bytes; made += length(line) + 1) {
      line = ""
      for (n = 10 + int(rand() * 60); n > 0; --n) line = line word[1 + int(rand() * rand() * rand() * 50000)] " "
      line = line int(rand() * 1e9) "."
      if (json) line = "{\"text\": \"" line "\"}"
      print line
    }
  }'
}

measure() {  # NAME FILE
  /usr/bin/time -f "%M %e" -o "$folder/time" "$bittern" prepare "$2" --out "$folder/out" --vocab-size 8000 > "$folder/log" 2>&1 ||
    { cat "$folder/log"; exit 1; }
  awk -v name="$1" -v gigabytes="$gigabytes" \
    '{ printf "%-18s %5.1f GB of text: peak memory %4d MiB, %6.1f s: %s\n", name, gigabytes, $1 / 1024, $2, $1 <= 1048576 ? "ok" : "TOO MUCH"; exit $1 > 1048576 }' \
    "$folder/time"
  rm -rf "$folder/out" "$2"
}

make_text 0 > "$folder/text.txt"
measure "plain text" "$folder/text.txt"
make_text 1 | gzip -1 > "$folder/text.jsonl.gz"
measure "JSON lines, gzip" "$folder/text.jsonl.gz"
