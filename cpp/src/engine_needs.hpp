// Compares what an engine needs with a library, a GPU and a batch. Pure: it queries no library and no GPU.
#pragma once

#include <string>

#include "poolfold/manifest.hpp"
#include "session.hpp"

namespace poolfold {

// The path of an engine and the command that builds it again, for messages.
struct EngineFile {
  std::string path;
  std::string rebuild;
};

// Throws TargetUnavailable: the installed library is not the version that the engine needs, or it has no weights.
void check_library(const Engine& engine, const EngineFile& file, const std::string& version_here);

// Throws TargetUnavailable: the engine does not run on a GPU of this compute capability, such as "8.9".
void check_gpu(const Engine& engine, const EngineFile& file, const std::string& capability_here);

// The index of the smallest profile that the batch fits.
// Throws InputError: the batch fits none; the message lists the allowed shapes.
std::size_t choose_profile(const Engine& engine, const EngineFile& file, const Batch& batch);

}  // namespace poolfold
