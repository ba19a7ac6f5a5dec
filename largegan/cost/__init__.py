"""What a run will cost, before it is queued: counted, not measured; every assumption is printed."""
