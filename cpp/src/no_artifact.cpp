#include "no_artifact.hpp"

#include <filesystem>
#include <system_error>

#include "poolfold/manifest.hpp"

namespace poolfold {

ArtifactError no_artifact(const std::string& directory) {
  std::error_code ignored;
  std::string lacks = "it is a file";
  if (std::filesystem::is_directory(directory, ignored))
    lacks = "it has no " + std::string(kManifestName);
  else if (!std::filesystem::exists(std::filesystem::symlink_status(directory, ignored)))
    lacks = "it does not exist";
  return ArtifactError(directory + " is not an artifact: " + lacks + ". Expected a directory from `poolfold export`.");
}

}  // namespace poolfold
