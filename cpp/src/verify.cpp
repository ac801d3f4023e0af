#include "poolfold/verify.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "poolfold/errors.hpp"
#include "quote.hpp"
#include "sha256.hpp"

namespace poolfold {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShown = 10;

using Problems = std::vector<std::string>;

// Formats an error of the operating system as Python does.
std::string os_error(const std::error_code& code, const std::string& path) {
  return "[Errno " + std::to_string(code.value()) + "] " + std::strerror(code.value()) + ": " + quote(path);
}

// Reads the manifest; every failure is an ArtifactError.
Manifest read_checked(const std::string& directory) {
  const std::string path = plain_path(directory + "/" + kManifestName);
  try {
    struct stat status;
    // Reading a named pipe would block for ever.
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
      throw ArtifactError(path + " is not a regular file. Fetch the artifact again, or export the model again.");
    return read_manifest(directory);
  } catch (const std::system_error& error) {
    throw ArtifactError(path + " cannot be read: " + os_error(error.code(), path) + ". Check its permissions.");
  }
}

// The entries of one directory, by name. Throws std::system_error.
std::vector<fs::directory_entry> entries(const std::string& folder) {
  std::vector<fs::directory_entry> listed;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) listed.push_back(entry);
  std::sort(listed.begin(), listed.end());
  return listed;
}

// The regular files below `directory`, and a problem for every other thing except a non-empty folder.
std::set<std::string> list(const std::string& directory, Problems& problems) {
  std::set<std::string> files;
  std::vector<std::string> pending{""};  // relative folders, each ending in a slash
  while (!pending.empty()) {
    const std::string folder = pending.back();
    pending.pop_back();
    const auto here = entries(plain_path(directory + "/" + folder));
    if (here.empty() && !folder.empty())
      problems.push_back(quote(plain_path(folder)) + ": an empty directory, which the manifest does not know");
    for (const fs::directory_entry& entry : here) {
      const std::string relative = folder + entry.path().filename().native();
      const fs::file_status status = entry.symlink_status();
      if (fs::is_symlink(status))
        problems.push_back(quote(relative) + ": a symbolic link; expected the file itself (copy with `cp -L`)");
      else if (fs::is_directory(status))
        pending.push_back(relative + "/");
      else if (fs::is_regular_file(status))
        files.insert(relative);
      else
        problems.push_back(quote(relative) + ": neither a file nor a directory");
    }
  }
  return files;
}

// Whether a path in the manifest means one file below the artifact on every system, and not the manifest.
bool is_inside(const std::string& path) {
  if (plain_path(path) != path || path == "." || path == kManifestName || path[0] == '/') return false;
  // A backslash separates, and a colon names a drive or a stream, on Windows.
  if (path.find_first_of(std::string("\\:\0", 3)) != std::string::npos) return false;
  const std::string framed = "/" + path + "/";
  return framed.find("/../") == std::string::npos;
}

// How a file differs from its entry; empty where it does not.
std::string compare(const std::string& path, const File& entry) {
  try {
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) throw std::system_error(errno, std::generic_category());
    if (status.st_size != entry.bytes)
      return std::to_string(status.st_size) + " bytes, expected " + std::to_string(entry.bytes);
    const std::string digest = sha256_of_file(path);
    if (digest == entry.sha256) return "";
    return "changed: SHA-256 " + digest.substr(0, 12) + "..., expected " + entry.sha256.substr(0, 12) + "...";
  } catch (const std::system_error& error) {
    return std::string("cannot be read: ") + std::strerror(error.code().value());
  }
}

// Compares the manifest's entries with the regular files in the directory.
void check_entries(const std::string& directory, const Manifest& manifest, const std::set<std::string>& files,
                   Problems& problems) {
  std::set<std::string> listed;
  for (const File& entry : manifest.files) {
    if (!is_inside(entry.path)) {
      problems.push_back(quote(entry.path) +
                         ": the manifest lists a path that is not plain and relative, below the artifact");
    } else if (listed.count(entry.path) != 0) {
      problems.push_back(quote(entry.path) + ": listed twice");
    } else if (files.count(entry.path) == 0) {
      problems.push_back(quote(entry.path) + ": missing");
    } else {
      const std::string problem = compare(directory + "/" + entry.path, entry);
      if (!problem.empty()) problems.push_back(quote(entry.path) + ": " + problem);
    }
    listed.insert(entry.path);
  }
  for (const std::string& file : files)
    if (listed.count(file) == 0 && file != kManifestName)
      problems.push_back(quote(file) + ": an extra file, which the manifest does not list");
}

// Each file that a graph or an engine names must be listed, and so hashed.
void check_references(const Manifest& manifest, Problems& problems) {
  std::set<std::string> named;
  for (const Engine& engine : manifest.engines) named.insert({engine.path, engine.graph});
  for (const Graph& graph : manifest.graphs) {
    named.insert(graph.path);
    if (graph.weights) named.insert(*graph.weights);
    if (graph.packed) named.insert(*graph.packed);
    if (graph.padding_free) named.insert(graph.padding_free->path);
  }
  for (const File& entry : manifest.files) named.erase(entry.path);
  for (const std::string& path : named)
    problems.push_back(quote(path) + ": named by a graph or an engine, and not listed among the files");
}

}  // namespace

Manifest verify(const fs::path& given) {
  const std::string directory = plain_path(given.native());
  Manifest manifest = read_checked(directory);
  Problems problems;
  std::set<std::string> files;
  try {
    files = list(directory, problems);
  } catch (const fs::filesystem_error& error) {
    throw ArtifactError(directory + " cannot be read: " + os_error(error.code(), error.path1().native()) +
                        ". Check its permissions.");
  }
  check_entries(directory, manifest, files, problems);
  check_references(manifest, problems);
  if (problems.empty()) return manifest;
  std::string message = directory + " differs from its " + kManifestName + ":";
  for (std::size_t index = 0; index < std::min(problems.size(), kShown); ++index)
    message += "\n  - " + problems[index];
  if (problems.size() > kShown) message += "\n  - and " + std::to_string(problems.size() - kShown) + " more";
  throw ArtifactError(message + "\nFetch the artifact again, or export the model again.");
}

}  // namespace poolfold
