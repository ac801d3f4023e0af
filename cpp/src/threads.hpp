// How many threads a run takes where the caller does not say, as in poolfold/sessions/threads.py.
#pragma once

#include <string>

namespace poolfold {

inline constexpr int kMostThreads = 1024;

// POOLFOLD_THREADS where it is set, or else `usable_cores`. Throws InputError if it is no number from 1 to kMostThreads.
int default_threads();

// Physical cores within the CPU affinity of this process and the quota of its cgroups; at least 1. `root` is the folder
// in which /proc and /sys lie, without a slash at its end.
int usable_cores(const std::string& root = "");

}  // namespace poolfold
