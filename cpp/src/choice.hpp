// Chooses which graph or engine of an artifact to run, by strategy, dtype and form. As poolfold/load.py. Opens no file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "poolfold/load.hpp"
#include "poolfold/manifest.hpp"

namespace poolfold {

// Targets that a loader may be asked for.
inline const std::vector<std::string> kTargets = {"onnxruntime", "tensorrt-rtx", "tensorrt"};

// Throws InputError: an option is invalid for every artifact.
void check_options(const Options& options);

// `asked` if it is in `has`; without `asked`, `preferred` if it is in `has`, else the first.
// Throws ArtifactError: `has` is empty. InputError: `asked` is not in `has`.
std::string choose(const std::string& directory, const std::string& what, const std::optional<std::string>& asked,
                   const std::vector<std::string>& has, const std::optional<std::string>& preferred);

// The strategy: the trained one first.
const Strategy& choose_strategy(const std::string& directory, const Manifest& manifest, const Options& options);

// The ONNX graph of a strategy: fp32 first.
const Graph& choose_graph(const std::string& directory, const Manifest& manifest, const std::string& strategy,
                          const Options& options);

// The engines of a strategy and one dtype, fp32 first: the plain form, the packed form, or both.
std::vector<Engine> choose_engines(const std::string& directory, const Manifest& manifest,
                                   const std::string& strategy, const Options& options);

}  // namespace poolfold
