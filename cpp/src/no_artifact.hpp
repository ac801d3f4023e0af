// Why a path is no artifact. As poolfold/manifest/no_artifact.py, without its guess at what was meant.
#pragma once

#include <string>

#include "poolfold/errors.hpp"

namespace poolfold {

// The error for a directory without a manifest, or one that is not there.
ArtifactError no_artifact(const std::string& directory);

}  // namespace poolfold
