// The CUDA runtime as far as an engine needs it: errors with words, one GPU, a stream, memory that is used again.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace poolfold {

// Throws TargetUnavailable where a call of the CUDA runtime failed; says how.
void succeed(cudaError_t code);

// Make a GPU the calling thread's own and give its compute capability, such as "8.9".
// Throws TargetUnavailable: no driver, one that is too old, or no such GPU; says which.
std::string use_gpu(int number);

// A stream of its own: the default stream would wait for all others.
class Stream {
 public:
  Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();
  cudaStream_t get() const { return stream_; }
  // Wait for what was queued.
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
  // At least so many bytes. What was there before is gone; nothing queued may still use it.
  void* reserve(std::size_t bytes);

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace poolfold
