// Loads an artifact directory: chooses strategy and dtype, verifies every file, opens the target's session.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

#include "poolfold/encoder.hpp"

namespace poolfold {

struct Options {
  // A strategy of the artifact; by default the one that the checkpoint was trained with, or else the first.
  std::optional<std::string> strategy;
  // "onnxruntime", or the target that this build was configured for: "tensorrt" or "tensorrt-rtx".
  std::string target = "onnxruntime";
  // A dtype of the artifact; by default fp32, or else the first.
  std::optional<std::string> dtype;
  // Threads of one run in ONNX Runtime, 1 to 1024; by default POOLFOLD_THREADS, or else the cores that this process may
  // use: those of its CPU affinity, within the quota of its cgroups.
  std::optional<int> threads;
  // Whether ONNX Runtime's threads busy-wait between the operators of a run: faster, but takes CPU time from others.
  bool spinning = true;
  // Bytes that one run may take on a CPU besides the weights, by estimate, 1 or more; by default half of what this process
  // may take when it runs: of the machine's memory, within the limits of its cgroups and of `ulimit`.
  std::optional<std::size_t> memory;
  // Number of the GPU, for engines.
  int gpu = 0;
  // Whether to map the weights, so that processes share them; an `embed` after somebody wrote to the file throws
  // ArtifactError. Otherwise the checked bytes are read into this process's memory.
  bool mmap = true;
  // Whether to hash every file; false for an artifact that was checked already.
  bool verify = true;
};

// Verifies every file of an artifact and loads it. The bytes that were checked are the bytes that are used.
//
// Throws InputError: the strategy, dtype or target does not exist, threads is not 1 to 1024, or memory is 0.
// ArtifactError: the directory differs from its manifest, or has nothing for the target. TargetUnavailable: the target
// cannot run here. OutOfMemory: it finds too little memory.
Encoder load(const std::filesystem::path& directory, const Options& options = {});

}  // namespace poolfold
