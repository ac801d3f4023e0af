// The parts of the CUDA runtime that an engine needs: errors with descriptions, the GPU, a stream, reusable memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace poolfold {

// Throws TargetUnavailable, with the runtime's description, if a call of the CUDA runtime failed.
void succeed(cudaError_t code);

// Selects the GPU of the calling thread and returns its compute capability, such as "8.9".
// Throws TargetUnavailable: no driver, a driver that is too old, or no such GPU; the message says which.
std::string use_gpu(int number);

// A non-blocking stream; the default stream would wait for all others.
class Stream {
 public:
  Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();
  cudaStream_t get() const { return stream_; }
  // Waits for all queued work.
  void wait() const { succeed(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

// Memory on the GPU that grows to the largest size asked for.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer();
  // Allocates at least this many bytes. The old content is lost; no queued work may still use it.
  void* reserve(std::size_t bytes);

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace poolfold
