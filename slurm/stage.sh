#!/usr/bin/env bash
# stage.sh FOLDER | --where | --remove: a copy of a folder on this node's own disk; once per node.
set -euo pipefail

# SLURM_TMPDIR where the site has it: known in tasks only, and emptied after the job.
to=${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/largegan-$SLURM_JOB_ID

case $1 in
--where) echo "$to" ;;
--remove) rm -rf "$to" "$to.part" ;;
*)
    [[ ! -d $to ]] || exit 0                # this job was here before, and was requeued
    need=$(du -skL "$1" | cut -f1) free=$(df -Pk "$(dirname "$to")" | awk 'NR == 2 {print $4}')
    if ((need > free)); then
        echo "$(hostname): $1 needs $((need / 1024)) MiB, $(dirname "$to") has $((free / 1024))" >&2
        exit 4
    fi
    # Renamed when complete: half a copy from before a power cut must not look like a whole one.
    rm -rf "$to.part"
    cp -rL "$1" "$to.part"
    mv "$to.part" "$to" ;;
esac
