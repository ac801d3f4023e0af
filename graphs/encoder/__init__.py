"""Bring an encoder graph into the form that the other folders expect: its inputs and output, shapes and constants."""
