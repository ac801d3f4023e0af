// What lies in an artifact's directory and is not listed. It is never read. As poolfold/verify/unlisted.py.
#pragma once

#include <string>
#include <vector>

#include "poolfold/manifest.hpp"

namespace poolfold {

// The files, by their paths in the artifact, that a program could take for a part of it: a graph, weights, or a file of
// a tokeniser. Throws std::filesystem::filesystem_error: a folder with listed files cannot be listed.
std::vector<std::string> list_mistakable(const std::string& directory, const Manifest& manifest);

}  // namespace poolfold
