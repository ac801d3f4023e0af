"""What was measured, as one HTML file that works from disk: text first, plots beside it, no network.

plots             figures, as SVG inside a page and as PNG beside it
page              the frame of a page: style, tables, figures with their descriptions
comparison_page   a comparison of strategies; cost_section its speed and memory
artifact_page     an artifact's own parity and latency
"""
