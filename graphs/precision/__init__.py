"""fp16 (convert, keep nodes fp32 by named rules, measure ranges, simulate the rounding), and weights in 16 bits."""
