// Checks every file of an artifact against its manifest: no file may be changed, missing, extra or outside.
#pragma once

#include <filesystem>

#include "poolfold/manifest.hpp"

namespace poolfold {

// Checks a whole artifact and returns its manifest.
// Throws ArtifactError: the directory is not an artifact, cannot be read, or differs from its manifest; the message
// lists up to ten problems.
Manifest verify(const std::filesystem::path& directory);

}  // namespace poolfold
