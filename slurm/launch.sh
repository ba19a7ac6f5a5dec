#!/usr/bin/env bash
# launch.sh OPTIONS ...: one task of srun. Starts the processes of this node with the launcher that
# train.sbatch chose; here, not there, because a task knows its node's number and its own disk.
set -euo pipefail

if [[ -n $STAGE ]]; then set -- "$@" --data.path "$(slurm/stage.sh --where)"; fi

# On nodes of several sockets a process should stay on the cores next to its GPU, which the launcher
# knows: --enable_cpu_affinity for accelerate (needs nvidia-ml-py), --numa-binding node for torchrun.
case $LAUNCHER in
accelerate)
    # --multi_gpu makes accelerate start several processes at all, also on machines without a GPU.
    # It is refused for one process, which needs no launcher.
    start=(accelerate launch --multi_gpu
        --num_machines "$SLURM_NNODES" --machine_rank "$SLURM_NODEID"
        --num_processes $((SLURM_NNODES * PROCESSES))
        --main_process_ip "$MASTER_ADDR" --main_process_port "$MASTER_PORT" --rdzv_backend c10d
        --mixed_precision no --dynamo_backend no -m)
    ((SLURM_NNODES * PROCESSES > 1)) || start=(python -m) ;;
torchrun)
    # --max-restarts 0: SLURM restarts, on nodes that work.
    start=(torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$PROCESSES" --max-restarts 0
        --rdzv-backend c10d --rdzv-endpoint "$MASTER_ADDR:$MASTER_PORT" -m) ;;
srun)
    start=(python -m) ;;        # largegan reads its rank from SLURM
esac

# With apptainer, put the container between the two:
#   exec slurm/forward.sh apptainer exec --nv --bind "$PWD" image.sif "${start[@]}" ...
exec slurm/forward.sh "${start[@]}" "$MODULE" "$@"
