// Runs one engine in TensorRT or TensorRT-RTX, whichever this build was configured for.
#pragma once

#include <memory>
#include <string>

#include "open_file.hpp"
#include "poolfold/manifest.hpp"
#include "session.hpp"

namespace poolfold {

// file: the engine. rebuild: the command that builds it again, for messages. gpu: the device's number.
//
// Throws TargetUnavailable: this build has no such library, or the library or GPU is not what the engine needs.
// ArtifactError: the library cannot read the engine, or its tensors are not what its manifest says.
std::unique_ptr<const Session> open_engine(OpenFile& file, const Engine& engine, const std::string& rebuild, int gpu);

}  // namespace poolfold
