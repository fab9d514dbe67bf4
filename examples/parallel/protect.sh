#!/bin/bash
# Protects a folder of photos on a handful of machines, with GNU parallel over ssh:
#
#     ./protect.sh MACHINES PHOTOS RESULTS [OPTIONS of lowkey-gpu protect]
#
# MACHINES is a file with a machine a line, as ssh knows it: `name`, `user@name`, or `:` for this one. `2/name` is one with two GPUs, or with
# four cores and none: so many tasks run there at a time. PHOTOS and RESULTS are folders that all machines see under the same path. Run it
# again as often as you like: what is done is left alone. Environment:
#
#     SHARDS       parts of the photos (8 for each task that runs at a time)
#     LOWKEY_COMMAND   the command on the machines (lowkey-gpu)
set -u
if (($# < 3)) || [[ ! -r $1 ]]; then
  echo 'Usage: protect.sh MACHINES PHOTOS RESULTS [OPTIONS of lowkey-gpu protect]' >&2
  exit 2
fi
machines=$1 photos=$(realpath "$2") || exit 2
mkdir -p "$3" || exit 1
results=$(realpath "$3")
shift 3
# `name` means `1/name`; to GNU parallel it would mean as many as the machine has cores.
list=$(awk '/^[[:space:]]*(#|$)/ { next } { print ($1 ~ /^[0-9]+\// ? "" : "1/") $0 }' "$machines")
[[ -n $list ]] || { echo "no machine in $machines" >&2; exit 2; }
shards=${SHARDS:-$(awk '{ sum += 8 * $1 } END { print sum }' <<<"$list")}

# -j100%: as many tasks as the numbers say. A shard that fails is tried again, elsewhere where it can be. When parallel is told to end, the
# tasks of this machine have five minutes for the photo in work; on other machines ssh ends, and the photo in work is lost.
command=("${LOWKEY_COMMAND:-lowkey-gpu}" protect --recursive "$photos" -o "$results" --resume --on-no-face skip "$@")
parallel --sshloginfile <(printf '%s\n' "$list") -j100% --retries 3 --joblog "$results/parallel.log" --termseq TERM,300000,KILL,25 \
  --tagstring '{}' --line-buffer "$(printf '%q ' "${command[@]}") --shard {}/$shards" ::: $(seq "$shards")
code=$?
# parallel counts the tasks that failed, up to 100, and says 101 for more.
((code == 0)) || echo "$code of $shards tasks failed; $results/parallel.log has their exit codes. Run it again for what can be tried again." >&2
exit "$code"
