// Checks an artifact's files and keeps open what a session needs. As poolfold/verify.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "open_file.hpp"
#include "poolfold/manifest.hpp"

namespace poolfold {

using OpenFiles = std::map<std::string, std::shared_ptr<OpenFile>>;  // by the path in the manifest

// Reads the manifest, and checks that its paths lie in the artifact.
// Throws ArtifactError: it cannot be read, or is not a manifest; a path leads elsewhere.
Manifest read_checked(const std::string& directory);

// Checks every file that the manifest lists. Keeps the files of `read` in memory, as they were hashed, and those of
// `mapped` open. Throws ArtifactError: as `verify`.
OpenFiles open_files(const std::string& directory, const Manifest& manifest, const std::set<std::string>& read,
                     const std::set<std::string>& mapped);

}  // namespace poolfold
