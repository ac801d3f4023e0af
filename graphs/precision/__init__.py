"""fp16: how far each tensor goes, what stays fp32 and why, and a rehearsal of the rounding in fp32."""
