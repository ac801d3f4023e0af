"""What surrounds the work: the terminal, the machine, other processes, libraries, a user's files of texts.

console         results to stdout, progress to stderr
table           a table that fits the terminal
width           how wide that is; text folded to it
environment     the machine and the versions
memory          what this process may still take
child_process   one function in a process of its own
libraries       libraries that an extra brings; libraries that a process must not import
quiet           silences libraries
text_file       a UTF-8 file, one text a line
rows            a table's rows, each with its place
text_column     the texts of either

Knows nothing of models, graphs or artifacts.
"""
