#!/usr/bin/env bash
# forward.sh COMMAND ...: what each task of srun runs, so that SLURM's signals reach the processes
# that train, whatever stands between: accelerate, torchrun, uv, a container.
#
# Why. Most sites track processes by cgroup, and there srun signals only the process that it started
# itself: the launcher. torchrun and accelerate die of a USR1, or lose it; the training processes
# never hear of it, and hours of work are gone. Sites that track by process tree (linuxproc) signal
# everybody, so a training process may hear a signal twice: it does not mind.
#
# How. The command starts with both signals ignored, and a program that does not handle a signal
# keeps ignoring it: the launcher lives on, and so does a rank that is still importing torch. Ranks
# that are ready replace that by their own handler: save, and exit with 75.
set -uo pipefail

# The codes of a training process are worth knowing (2 configuration, 3 data, 75 requeue me), but
# every launcher turns them into 1. So training writes its code here, too (parallel/launch.py), and
# leaves with 0 instead of 75: what was asked for is no failure that fills the log with tracebacks.
LARGEGAN_EXIT_FILE=$(mktemp "${TMPDIR:-/tmp}/largegan-exit.XXXXXX") || exit 4
export LARGEGAN_EXIT_FILE

(trap '' USR1 TERM; exec "$@") &
launcher=$!

tell() {  # a process and everything below it
    local child
    kill -USR1 "$1" 2>/dev/null
    for child in $(pgrep -P "$1"); do tell "$child"; done
}
# USR1 also for TERM: torchrun would answer a TERM by killing its ranks half a minute later, perhaps
# in the middle of a checkpoint. Who takes too long gets SLURM's KILL anyway.
trap 'tell "$launcher"' USR1 TERM

# A trap interrupts `wait`, so wait until there is nobody left to wait for.
while kill -0 "$launcher" 2>/dev/null; do wait "$launcher"; done
wait "$launcher"
code=$?

# The reason why one rank failed counts more than the others' "I lost contact with a rank" (4).
for known in 2 3 5 75 4; do
    grep -qx "$known" "$LARGEGAN_EXIT_FILE" && { code=$known; break; }
done
rm -f "$LARGEGAN_EXIT_FILE"
exit "$code"
