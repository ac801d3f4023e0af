#include "threads.hpp"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "cgroups.hpp"
#include "poolfold/errors.hpp"
#include "quote.hpp"

namespace poolfold {
namespace {

// A name of the physical core that a logical CPU belongs to: the list of the core's CPUs.
std::string core(int cpu, const std::string& root) {
  const std::string topology = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
  for (const char* name : {"core_cpus_list", "thread_siblings_list"})
    if (std::string siblings = kernel_file(topology + name); !siblings.empty()) return siblings;
  return std::to_string(cpu);
}

void limit(std::int64_t& cores, const std::string& quota, const std::string& period) {
  const std::int64_t most = kernel_number(quota), each = kernel_number(period);
  if (most >= 0 && each > 0) cores = std::min(cores, most / each);
}

}  // namespace

int usable_cores(const std::string& root) {
  std::set<std::string> allowed;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) allowed.insert(core(cpu, root));
  auto cores = static_cast<std::int64_t>(allowed.size());
  // Source: the kernel's documentation of cpu.max and cpu.cfs_quota_us.
  for (const Cgroup& group : cgroups("cpu", root)) {
    if (group.v1) {
      limit(cores, kernel_file(group.folder + "cpu.cfs_quota_us"), kernel_file(group.folder + "cpu.cfs_period_us"));
    } else if (const std::string both = kernel_file(group.folder + "cpu.max"); both.find(' ') != std::string::npos) {
      limit(cores, both.substr(0, both.find(' ')), both.substr(both.find(' ') + 1));
    }
  }
  return static_cast<int>(std::max(cores, std::int64_t{1}));
}

int default_threads() {
  const char* value = std::getenv("POOLFOLD_THREADS");
  if (value == nullptr || *value == '\0') return usable_cores();
  const std::int64_t threads = kernel_number(value);
  if (threads < 1 || threads > kMostThreads)
    throw InputError("POOLFOLD_THREADS is " + quote(value) + "; expected 1 to " + std::to_string(kMostThreads) +
                     ". Correct it, or unset it.");
  return static_cast<int>(threads);
}

}  // namespace poolfold
