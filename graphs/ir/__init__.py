"""The ground floor: what every chapter asks of nodes, constants and dimensions, and the names of inputs and outputs."""
