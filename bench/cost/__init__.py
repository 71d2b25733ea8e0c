"""What a method costs: parameters, FLOPs, latency, memory."""
