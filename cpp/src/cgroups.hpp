// The cgroups that limit this process, and files of the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace poolfold {

// A cgroup's folder, with a slash at its end, and which kernel interface its files have.
struct Cgroup {
  std::string folder;
  bool v1;
};

// Each cgroup of this process that a controller ("cpu", "memory") limits, and its parents. `root` is the folder in which
// /proc and /sys lie, without a slash at its end.
std::vector<Cgroup> cgroups(const std::string& controller, const std::string& root);

// A file of the kernel up to its last line break; empty where there is none.
std::string kernel_file(const std::string& path);

// A decimal number of at most 18 digits; -1 for anything else.
std::int64_t kernel_number(const std::string& text);

}  // namespace poolfold
