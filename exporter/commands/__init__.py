"""The command line, one file a command: parse, call one function of `exporter`, render what it returns.

export, build, validate, bench, compare, report, distill, embed, serve, deploy, inspect, verify, push, targets   the
                 commands
cli              the group of them, exit codes, and the last word on errors
flags            flags that several commands share
artifact_table   an artifact's candidates as a table; all of it as JSON
engine_table     its graphs and engines
"""
