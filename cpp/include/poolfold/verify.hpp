// Every file of an artifact against its manifest: nothing changed, nothing missing, nothing extra, nothing outside.
#pragma once

#include <filesystem>

#include "poolfold/manifest.hpp"

namespace poolfold {

// Check an artifact, whole, and return its manifest.
// Throws ArtifactError: no artifact, not readable, or different from its manifest; lists the problems, ten at most.
Manifest verify(const std::filesystem::path& directory);

}  // namespace poolfold
