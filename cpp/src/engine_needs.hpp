// What an engine needs, held against a library, a GPU and a batch. Values only: no library and no GPU is asked here.
#pragma once

#include <string>

#include "poolfold/manifest.hpp"
#include "session.hpp"

namespace poolfold {

// Where an engine lies, and the command that makes it anew: for messages.
struct EngineFile {
  std::string path;
  std::string rebuild;
};

// Throws TargetUnavailable: the library here has not the version that the engine needs, or the engine lacks its weights.
void check_library(const Engine& engine, const EngineFile& file, const std::string& version_here);

// Throws TargetUnavailable: an engine that does not run on a GPU of this compute capability, such as "8.9".
void check_gpu(const Engine& engine, const EngineFile& file, const std::string& capability_here);

// The index of the narrowest profile that takes the batch.
// Throws InputError: none does; names what they take.
std::size_t choose_profile(const Engine& engine, const EngineFile& file, const Batch& batch);

}  // namespace poolfold
