"""What every other folder of graphs imports: properties of operators, constants, dimensions, names of inputs."""
