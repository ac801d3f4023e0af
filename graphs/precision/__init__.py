"""fp16: convert a graph, keep nodes fp32 by named rules, measure ranges, and simulate the rounding in fp32."""
