"""One file per command: call one function of the exporter or the runtime, render what it returns."""
