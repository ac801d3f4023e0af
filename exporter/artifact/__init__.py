"""An artifact on disk: which file lies where, its manifest, and its publication by one rename.

layout             paths inside the artifact
hub_files          what other programs know a model folder by
model_card         README.md, for people
tokenizer_config   tokenizer_config.json, true of the artifact
draft              an artifact in the making, and the manifest written from it
publish            a hidden directory that becomes the destination, or goes away
"""
