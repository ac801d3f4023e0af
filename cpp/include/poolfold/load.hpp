// An artifact directory to an Encoder: verify every file, choose strategy and dtype, open the target's session.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "poolfold/encoder.hpp"

namespace poolfold {

struct Options {
  // One of the artifact's; without it the one the checkpoint was trained with, or else the first.
  std::optional<std::string> strategy;
  // "onnxruntime", and what this build was configured for: "tensorrt" or "tensorrt-rtx".
  std::string target = "onnxruntime";
  // One of the artifact's; without it fp32, or else the first.
  std::optional<std::string> dtype;
  // Threads of one run in ONNX Runtime, 1 to 1024; without it ONNX Runtime takes the physical cores.
  std::optional<int> threads;
  // Whether ONNX Runtime's threads busy-wait between the operators of a run: faster, and dearer beside other work.
  bool spinning = true;
  // Number of the GPU, for engines.
  int gpu = 0;
};

// Load an artifact, after a check of every file in it.
//
// Throws InputError: a strategy, dtype or target that is not there, or fewer threads than one. ArtifactError: the
// directory differs from its manifest, or has nothing for the target. TargetUnavailable: the target cannot run here.
Encoder load(const std::filesystem::path& directory, const Options& options = {});

}  // namespace poolfold
