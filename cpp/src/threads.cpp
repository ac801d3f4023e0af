#include "threads.hpp"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "poolfold/errors.hpp"
#include "quote.hpp"

namespace poolfold {
namespace {

// A file of the kernel up to its last line break; empty where there is none.
std::string read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  std::string text = content.str();
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

// A name of the physical core that a logical CPU belongs to: the list of the core's CPUs.
std::string core(int cpu, const std::string& root) {
  const std::string topology = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
  for (const char* name : {"core_cpus_list", "thread_siblings_list"})
    if (std::string siblings = read(topology + name); !siblings.empty()) return siblings;
  return std::to_string(cpu);
}

// A decimal number; -1 for anything else.
long number(const std::string& text) {
  if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string::npos) return -1;
  return std::stol(text);
}

void limit(long& cores, const std::string& quota, const std::string& period) {
  const long most = number(quota), each = number(period);
  if (most >= 0 && each > 0) cores = std::min(cores, most / each);
}

}  // namespace

int usable_cores(const std::string& root) {
  std::set<std::string> allowed;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) allowed.insert(core(cpu, root));
  long cores = static_cast<long>(allowed.size());
  // Each cgroup of the process, and its parents. Source: the kernel's documentation of cpu.max and cpu.cfs_quota_us.
  std::istringstream groups(read(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1 = ("," + controllers + ",").find(",cpu,") != std::string::npos;
    if (!v1 && !controllers.empty()) continue;
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    while (true) {
      const std::string folder = root + "/sys/fs/cgroup" + (v1 ? "/" + controllers : "") + path + "/";
      if (v1) {
        limit(cores, read(folder + "cpu.cfs_quota_us"), read(folder + "cpu.cfs_period_us"));
      } else if (const std::string both = read(folder + "cpu.max"); both.find(' ') != std::string::npos) {
        limit(cores, both.substr(0, both.find(' ')), both.substr(both.find(' ') + 1));
      }
      if (path.empty()) break;
      path.erase(path.rfind('/'));
    }
  }
  return static_cast<int>(std::max(cores, 1L));
}

int default_threads() {
  const char* value = std::getenv("POOLFOLD_THREADS");
  if (value == nullptr || *value == '\0') return usable_cores();
  const long threads = number(value);
  if (threads < 1 || threads > kMostThreads)
    throw InputError("POOLFOLD_THREADS is " + quote(value) + "; expected 1 to " + std::to_string(kMostThreads) +
                     ". Correct it, or unset it.");
  return static_cast<int>(threads);
}

}  // namespace poolfold
