#include "engine_context.hpp"

#include "packing.hpp"
#include "poolfold/errors.hpp"

namespace poolfold {
namespace {

thread_local std::string last_error;

}  // namespace

void EngineLog::log(Severity severity, const char* message) noexcept {
  if (severity > Severity::kERROR) return;
  try {
    last_error = message;
  } catch (...) {  // out of memory; no exception may reach the library
    last_error.clear();
  }
}

std::string EngineLog::last() { return last_error.empty() ? "no reason given" : last_error; }

EngineContext::EngineContext(nvinfer1::ICudaEngine& engine, const std::string& path, bool packed)
    : path_(path), packed_(packed), context_(engine.createExecutionContext()) {
  if (!context_)
    throw TargetUnavailable(path_ + " gets no execution context: " + EngineLog::last() +
                            ". Free memory of the GPU, or use fewer threads.");
}

Vectors EngineContext::run(const Batch& batch, int profile) {
  if (profile != profile_) {
    profile_ = -1;  // if the change fails, the next run sets the profile again
    require(context_->setOptimizationProfileAsync(profile, stream_.get()), "its optimisation profile");
    profile_ = profile;
  }
  const auto rows = static_cast<std::int64_t>(batch.batch), seq = static_cast<std::int64_t>(batch.seq);
  bind("input_ids", ids_, batch.input_ids, rows, seq);
  bind("attention_mask", mask_, batch.attention_mask, rows, seq);
  if (packed_) {
    places_ = token_positions(batch);
    bind("token_positions", positions_, places_.data(), 1, static_cast<std::int64_t>(places_.size()));
  }
  const nvinfer1::Dims dims = context_->getTensorShape(kEngineOutput);
  require(dims.nbDims == 2 && dims.d[0] == rows && dims.d[1] > 0, "its output's shape");
  Vectors vectors{{}, batch.batch, static_cast<std::size_t>(dims.d[1])};
  vectors.values.resize(vectors.rows * vectors.dim);
  const std::size_t bytes = vectors.values.size() * sizeof(float);
  void* output = output_.reserve(bytes);
  require(context_->setTensorAddress(kEngineOutput, output), "its output");
  require(context_->enqueueV3(stream_.get()), "a run");
  succeed(cudaMemcpyAsync(vectors.values.data(), output, bytes, cudaMemcpyDeviceToHost, stream_.get()));
  stream_.wait();
  return vectors;
}

// Sets one input of the engine: its shape, and the address of a copy of its values on the GPU.
void EngineContext::bind(const char* name, DeviceBuffer& buffer, const std::int64_t* data, std::int64_t rows,
                         std::int64_t columns) {
  const std::size_t bytes = static_cast<std::size_t>(rows * columns) * sizeof(std::int64_t);
  void* there = buffer.reserve(bytes);
  succeed(cudaMemcpyAsync(there, data, bytes, cudaMemcpyHostToDevice, stream_.get()));
  nvinfer1::Dims dims{};
  dims.nbDims = 2;
  dims.d[0] = rows;
  dims.d[1] = columns;
  require(context_->setInputShape(name, dims) && context_->setTensorAddress(name, there), name);
}

void EngineContext::require(bool done, const char* what) const {
  if (done) return;
  // Queued copies may still read the caller's memory.
  cudaStreamSynchronize(stream_.get());
  throw ArtifactError(path_ + " refuses " + what + ": " + EngineLog::last() +
                      ". Build the engine anew, or use target onnxruntime.");
}

}  // namespace poolfold
