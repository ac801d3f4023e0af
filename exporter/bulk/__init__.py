"""Very many texts -> a folder of Parquet parts. What was done stays done: the same command again takes it up.

job      what is asked for, the same in every process
inputs   patterns -> files; a file's records, from any of its parts on
folder   the folder of parts: what it belongs to, which parts are there, one writer at a time
parts    a part of a file -> its vectors -> a file of the folder
stream   all parts in this process, one after another
on_ray   all parts on Ray, by actors that each load the artifact once
"""
