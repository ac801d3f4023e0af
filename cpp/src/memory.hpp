// Memory that this process may still take, in bytes, and how ONNX Runtime says that there was too little. As
// poolfold/sessions/memory.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "poolfold/errors.hpp"

namespace poolfold {

// What one run may take where the caller does not say: half of what this process may take now.
std::int64_t default_memory();

// What is free or can be freed without swapping, within every limit of this process and of its cgroups; at least 0.
// `root` is the folder in which /proc and /sys lie, without a slash at its end.
std::int64_t available_bytes(const std::string& root = "");

// The error for one that a runtime raised for want of memory, in these words; none for any other. `what` was run.
std::optional<OutOfMemory> out_of_memory(const std::string& error, const std::string& what);

}  // namespace poolfold
