#include "poolfold/verify.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "checked_files.hpp"
#include "poolfold/errors.hpp"
#include "no_artifact.hpp"
#include "quote.hpp"
#include "unlisted.hpp"

namespace poolfold {
namespace {

constexpr std::size_t kShown = 10;
// Threads that hash: one file each, the largest first.
constexpr std::size_t kReaders = 4;

// Formats an error of the operating system as Python does.
std::string os_error(const std::error_code& code, const std::string& path) {
  return "[Errno " + std::to_string(code.value()) + "] " + std::strerror(code.value()) + ": " + quote(path);
}

struct Problem {
  std::string text;
  bool unreadable = false;  // nothing is known about the file's content
};

using Problems = std::vector<Problem>;

// Whether a path in the manifest means one file below the artifact on every system, and not the manifest.
bool is_inside(const std::string& path) {
  if (plain_path(path) != path || path == "." || path == kManifestName || path[0] == '/') return false;
  // A backslash separates, and a colon names a drive or a stream, on Windows.
  if (path.find_first_of(std::string("\\:\0", 3)) != std::string::npos) return false;
  const std::string framed = "/" + path + "/";
  return framed.find("/../") == std::string::npos;
}

// Each path that is listed must be plain and below the artifact, and listed once.
void check_paths(const Manifest& manifest, Problems& problems) {
  std::set<std::string> listed;
  for (const File& entry : manifest.files) {
    if (!is_inside(entry.path))
      problems.push_back({quote(entry.path) +
                          ": the manifest lists a path that is not plain and relative, below the artifact"});
    else if (listed.count(entry.path) != 0)
      problems.push_back({quote(entry.path) + ": listed twice"});
    listed.insert(entry.path);
  }
}

// Each file that a graph, an engine, a prompt or a strategy names must be listed, and so hashed.
void check_references(const Manifest& manifest, Problems& problems) {
  std::set<std::string> named;
  for (const Engine& engine : manifest.engines) named.insert({engine.path, engine.graph});
  for (const Graph& graph : manifest.graphs) {
    named.insert(graph.path);
    if (graph.weights) named.insert(*graph.weights);
    if (graph.packed) named.insert(*graph.packed);
    if (graph.prompted) named.insert(*graph.prompted);
    if (graph.padding_free) named.insert(graph.padding_free->path);
    for (const auto& [whole, sliced] : graph.sliced) named.insert({whole, sliced});
  }
  for (const FoldedPrompt& prompt : manifest.folded_prompts) named.insert(prompt.path);
  if (manifest.portable) {
    named.insert(manifest.portable->path);
    if (manifest.portable->weights) named.insert(*manifest.portable->weights);
  }
  for (const Strategy& strategy : manifest.strategies)
    if (strategy.ranges) named.insert(*strategy.ranges);
  for (const File& entry : manifest.files) named.erase(entry.path);
  for (const std::string& path : named)
    problems.push_back({quote(path) + ": named by a graph or an engine, and not listed among the files"});
}

// Throws the error for what is wrong with an artifact, if anything is.
void refuse(const std::string& directory, const Problems& problems) {
  if (problems.empty()) return;
  std::string shown;
  for (std::size_t index = 0; index < std::min(problems.size(), kShown); ++index)
    shown += "\n  - " + problems[index].text;
  if (problems.size() > kShown) shown += "\n  - and " + std::to_string(problems.size() - kShown) + " more";
  if (std::all_of(problems.begin(), problems.end(), [](const Problem& problem) { return problem.unreadable; }))
    throw ArtifactError(directory + " cannot be read:" + shown + "\nCheck its permissions; nothing is damaged.");
  throw ArtifactError(directory + " differs from its " + kManifestName + ":" + shown +
                      "\nFetch the artifact again, or export the model again.");
}

// Opens and hashes one file; the problem, if it differs from its entry.
std::optional<Problem> check(const std::string& directory, const File& entry, bool read, bool mapped,
                             std::shared_ptr<OpenFile>& kept) {
  const std::string name = quote(entry.path) + ": ";
  try {
    auto file = std::make_shared<OpenFile>(directory + "/" + entry.path);
    if (file->size() != entry.bytes)
      return Problem{name + std::to_string(file->size()) + " bytes, expected " + std::to_string(entry.bytes)};
    if (mapped) file->settle();
    const std::string digest = file->hash(read);
    if (digest != entry.sha256)
      return Problem{name + "changed: SHA-256 " + digest.substr(0, 12) + "..., expected " +
                     entry.sha256.substr(0, 12) + "..."};
    if (read || mapped) kept = std::move(file);
    return std::nullopt;
  } catch (const std::system_error& error) {
    const int code = error.code().value();
    if (code == ENOENT || code == ENOTDIR) return Problem{name + "missing"};
    return Problem{name + "cannot be read: " + reason(error), code == EACCES || code == EPERM};
  }
}

}  // namespace

Manifest read_checked(const std::string& directory) {
  const std::string path = plain_path(directory + "/" + kManifestName);
  Manifest manifest;
  try {
    OpenFile file(path);
    file.hash(true);
    manifest = parse_manifest(file.data(), path);
  } catch (const std::system_error& error) {
    const int code = error.code().value();
    if (code == ENOENT || code == ENOTDIR) throw no_artifact(directory);
    if (is_not_regular(error))
      throw ArtifactError(path + " is not a regular file. Fetch the artifact again, or export the model again.");
    throw ArtifactError(path + " cannot be read: " + os_error(error.code(), path) + ". Check its permissions.");
  }
  Problems problems;
  check_paths(manifest, problems);
  check_references(manifest, problems);
  refuse(directory, problems);
  return manifest;
}

OpenFiles open_files(const std::string& directory, const Manifest& manifest, const std::set<std::string>& read,
                     const std::set<std::string>& mapped) {
  const std::size_t count = manifest.files.size();
  std::vector<std::optional<Problem>> checked(count);
  std::vector<std::shared_ptr<OpenFile>> opened(count);
  std::vector<std::size_t> largest_first(count);
  std::iota(largest_first.begin(), largest_first.end(), std::size_t{0});
  std::stable_sort(largest_first.begin(), largest_first.end(), [&](std::size_t a, std::size_t b) {
    return manifest.files[a].bytes > manifest.files[b].bytes;
  });
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t turn = next++; turn < count; turn = next++) {
      const std::size_t index = largest_first[turn];
      const File& entry = manifest.files[index];
      checked[index] = check(directory, entry, read.count(entry.path) != 0, mapped.count(entry.path) != 0, opened[index]);
    }
  };
  std::vector<std::future<void>> readers;
  for (std::size_t reader = 0; reader < std::min(kReaders, count); ++reader)
    readers.push_back(std::async(std::launch::async, work));
  for (auto& reader : readers) reader.get();
  Problems problems;
  OpenFiles kept;
  for (std::size_t index = 0; index < count; ++index) {
    if (checked[index]) problems.push_back(*checked[index]);
    if (opened[index]) kept[manifest.files[index].path] = opened[index];
  }
  try {
    for (const std::string& name : list_mistakable(directory, manifest))
      problems.push_back({quote(name) +
                          ": an extra file, which the manifest does not list, and which could be taken for a part"});
  } catch (const std::filesystem::filesystem_error& error) {
    throw ArtifactError(directory + " cannot be read: " + os_error(error.code(), error.path1().native()) +
                        ". Check its permissions.");
  }
  refuse(directory, problems);
  return kept;
}

Manifest verify(const std::filesystem::path& given) {
  const std::string directory = plain_path(given.native());
  Manifest manifest = read_checked(directory);
  open_files(directory, manifest, {}, {});
  return manifest;
}

}  // namespace poolfold
