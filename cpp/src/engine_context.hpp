// One execution context of an engine, with its stream and its memory: used by one thread at a time.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda.hpp"
#include "session.hpp"

namespace poolfold {

inline constexpr const char* kEngineOutput = "sentence_embedding";

// Keeps the last error that the library logged on each thread.
class EngineLog : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override;
  // The last error of the calling thread, or "no reason given".
  static std::string last();
};

class EngineContext {
 public:
  // packed: whether the engine has an input token_positions. Throws TargetUnavailable: no memory for a context.
  EngineContext(nvinfer1::ICudaEngine& engine, const std::string& path, bool packed);

  // Embed a batch that fits the profile: float32 [batch, dim].
  // Throws ArtifactError: the library refuses the shapes or the run. TargetUnavailable: the CUDA runtime failed.
  Vectors run(const Batch& batch, int profile);

 private:
  void bind(const char* name, DeviceBuffer& buffer, const std::int64_t* data, std::int64_t rows, std::int64_t columns);
  void require(bool done, const char* what) const;

  std::string path_;
  bool packed_;
  // Members are destroyed in reverse order: the context before the stream and the memory that it uses.
  Stream stream_;
  DeviceBuffer ids_, mask_, positions_, output_;
  std::vector<std::int64_t> places_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  int profile_ = -1;
};

}  // namespace poolfold
