"""An artifact on disk: which file lies where, its manifest, and its publication by one rename.

layout    paths inside the artifact; the manifest that describes every file
publish   a hidden directory that becomes the destination, or goes away
"""
