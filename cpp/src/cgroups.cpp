#include "cgroups.hpp"

#include <fstream>
#include <sstream>

namespace poolfold {

std::vector<Cgroup> cgroups(const std::string& controller, const std::string& root) {
  std::vector<Cgroup> found;
  std::istringstream lines(kernel_file(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1 = ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
    if (!v1 && !controllers.empty()) continue;
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    while (true) {
      found.push_back({root + "/sys/fs/cgroup" + (v1 ? "/" + controllers : "") + path + "/", v1});
      if (path.empty()) break;
      path.erase(path.rfind('/'));
    }
  }
  return found;
}

std::string kernel_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  std::string text = content.str();
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

std::int64_t kernel_number(const std::string& text) {
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos) return -1;
  return std::stoll(text);
}

}  // namespace poolfold
