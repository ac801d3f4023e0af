#include "cuda.hpp"

#include "poolfold/errors.hpp"

namespace poolfold {
namespace {

std::string explain(cudaError_t code) {
  return std::string(cudaGetErrorName(code)) + ", " + cudaGetErrorString(code);
}

}  // namespace

void succeed(cudaError_t code) {
  if (code != cudaSuccess) throw TargetUnavailable("the CUDA runtime failed: " + explain(code) + ".");
}

std::string use_gpu(int number) {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) throw TargetUnavailable("this machine has no usable NVIDIA GPU: " + explain(code) + ".");
  if (number < 0 || number >= count)
    throw TargetUnavailable("this machine has no GPU number " + std::to_string(number) + "; it has " +
                            std::to_string(count) + ", counted from 0.");
  int major = 0, minor = 0;
  succeed(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number));
  succeed(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, number));
  succeed(cudaSetDevice(number));
  return std::to_string(major) + "." + std::to_string(minor);
}

Stream::Stream() { succeed(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
Stream::~Stream() { cudaStreamDestroy(stream_); }

DeviceBuffer::~DeviceBuffer() { cudaFree(data_); }

void* DeviceBuffer::reserve(std::size_t bytes) {
  if (bytes <= bytes_) return data_;
  succeed(cudaFree(data_));
  data_ = nullptr;
  bytes_ = 0;
  succeed(cudaMalloc(&data_, bytes));
  bytes_ = bytes;
  return data_;
}

}  // namespace poolfold
