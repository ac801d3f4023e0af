// Which graph or engine of an artifact to run: strategy, dtype and form. As poolfold/load.py. Opens nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "poolfold/load.hpp"
#include "poolfold/manifest.hpp"

namespace poolfold {

// Targets that a loader may be asked for.
inline const std::vector<std::string> kTargets = {"onnxruntime", "tensorrt-rtx", "tensorrt"};

// Refuse what no artifact could make right. Throws InputError.
void check_options(const Options& options);

// What was asked for if the artifact has it; if nothing was, `preferred` where it is there, else the first.
// Throws ArtifactError: it has none at all. InputError: it has not this one.
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
