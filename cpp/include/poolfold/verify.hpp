// Checks every file of an artifact against its manifest: no file that it lists may be changed, missing or outside. Other
// files are not read; a graph, weights or a file of a tokeniser among them is refused.
#pragma once

#include <filesystem>

#include "poolfold/manifest.hpp"

namespace poolfold {

// Checks a whole artifact and returns its manifest.
// Throws ArtifactError: the directory is not an artifact, cannot be read, or differs from its manifest; the message
// lists up to ten problems.
Manifest verify(const std::filesystem::path& directory);

}  // namespace poolfold
