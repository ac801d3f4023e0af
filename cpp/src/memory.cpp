#include "memory.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <sstream>
#include <utility>

#include "cgroups.hpp"

namespace poolfold {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Where the kernel does not tell: what is taken to be there.
constexpr std::int64_t kElsewhere = std::int64_t{1} << 32;
// What runtimes say where memory is out.
constexpr std::array kSigns{"bad alloc",    "bad_alloc",  "badalloc",        "failed to alloc", "cannot alloc",
                            "can't alloc", "could not alloc", "out of memory", "out-of-memory",   "out_of_memory"};
// One run may take one part in so many of what is there; the rest is for other threads' runs, and for estimates that are
// too low.
constexpr std::int64_t kShare = 2;
constexpr std::int64_t kKibibyte = 1024;

// The number that follows a name in a text of the kernel; -1 where there is none.
std::int64_t number_behind(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.rfind(name, 0) == 0) {
      std::istringstream rest(line.substr(name.size()));
      std::string number;
      rest >> number;
      return kernel_number(number);
    }
  return -1;
}

// Pages of files that nobody used of late, `cache`, the kernel takes back when it needs them. Source: the kernel's
// documentation of memory.max, memory.current and memory.stat (cgroup v2), and of memory.limit_in_bytes,
// memory.usage_in_bytes and total_inactive_file (v1).
void limit(std::int64_t& left, const Cgroup& group) {
  const auto number = [&](const char* v1, const char* v2) {
    return kernel_number(kernel_file(group.folder + (group.v1 ? v1 : v2)));
  };
  const std::int64_t most = number("memory.limit_in_bytes", "memory.max");
  if (most < 0) return;  // no file, or "max"
  const std::int64_t used = number("memory.usage_in_bytes", "memory.current");
  if (used < 0) return;
  const std::int64_t cache = number_behind(kernel_file(group.folder + "memory.stat"),
                                           group.v1 ? "total_inactive_file " : "inactive_file ");
  left = std::min(left, most - used + std::max(cache, std::int64_t{0}));
}

}  // namespace

std::int64_t default_memory() { return available_bytes() / kShare; }

std::int64_t available_bytes(const std::string& root) {
  const std::int64_t machine = number_behind(kernel_file(root + "/proc/meminfo"), "MemAvailable:");
  std::int64_t left = machine < 0 ? kElsewhere : machine * kKibibyte;
  for (const Cgroup& group : cgroups("memory", root)) limit(left, group);
  const std::string limits = kernel_file(root + "/proc/self/limits"), status = kernel_file(root + "/proc/self/status");
  for (const auto& [name, size] : {std::pair{"Max data size", "VmData:"}, std::pair{"Max address space", "VmSize:"}}) {
    const std::int64_t most = number_behind(limits, name);  // -1 for "unlimited"
    if (most >= 0) left = std::min(left, most - std::max(number_behind(status, size), std::int64_t{0}) * kKibibyte);
  }
  return std::max(left, std::int64_t{0});
}

std::optional<OutOfMemory> out_of_memory(const std::string& error, const std::string& what) {
  // Not std::regex, whose headers GCC warns of under its sanitisers.
  const std::string said = lower(error);
  const auto has = [&said](const char* sign) { return said.find(sign) != std::string::npos; };
  if (std::none_of(kSigns.begin(), kSigns.end(), has)) return std::nullopt;
  std::optional<std::int64_t> asked;
  for (const std::string before : {"buffer of size ", "failed to allocate "}) {
    const std::size_t at = said.find(before);
    if (at == std::string::npos) continue;
    const std::size_t start = at + before.size(), end = said.find_first_not_of("0123456789", start);
    if (end != start && start < said.size()) asked = kernel_number(said.substr(start, end - start));
    if (asked) break;
  }
  return OutOfMemory(what +
                         " takes more memory than this process may have. Free some or raise the limit, or use smaller "
                         "batches and shorter texts.",
                     asked);
}

}  // namespace poolfold
