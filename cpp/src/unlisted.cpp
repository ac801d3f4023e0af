#include "unlisted.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "quote.hpp"

namespace poolfold {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

const Names kFolders = {"onnx", "engines", "openvino"};
const Names kGraphs = {".onnx", ".ort", ".engine", ".plan", ".xml"};
const Names kWeights = {".bin", ".data", ".onnx_data"};
const Names kText = {"added_tokens.json",         "config.json",
                     "config_sentence_transformers.json", "merges.txt",
                     "modules.json",              "sentence_bert_config.json",
                     "special_tokens_map.json",   "tokenizer.json",
                     "tokenizer_config.json"};

bool holds(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool ends(const std::string& name, const std::string& end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

bool ends_in_one(const std::string& name, const Names& all) {
  return std::any_of(all.begin(), all.end(), [&](const std::string& end) { return ends(name, end); });
}

std::string first_folder(const std::string& path) { return path.substr(0, path.find('/')); }

bool is_mistakable(std::string path) {
  std::transform(path.begin(), path.end(), path.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  const std::size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name[0] == '.') return false;  // what systems and editors keep beside a file
  if (slash == std::string::npos)
    return holds(kText, name) || name.rfind("vocab.", 0) == 0 || ends_in_one(name, kGraphs) || ends(name, ".model");
  return holds(kFolders, first_folder(path)) && (ends_in_one(name, kGraphs) || ends_in_one(name, kWeights) ||
                                                 name.find(".onnx_data") != std::string::npos);
}

}  // namespace

std::vector<std::string> list_mistakable(const std::string& directory, const Manifest& manifest) {
  std::set<std::string> listed{kManifestName}, holding{""};
  for (const File& file : manifest.files) listed.insert(file.path);
  for (const std::string& path : listed)
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
      holding.insert(path.substr(0, slash));
  Names mistakable, pending{""};
  while (!pending.empty()) {
    const std::string folder = pending.back();
    pending.pop_back();
    std::error_code code;
    const std::string place = plain_path(directory + "/" + folder);
    fs::directory_iterator entries(place, code);
    if (code && holding.count(folder) != 0) throw fs::filesystem_error("listing", place, code);
    if (code) continue;
    for (const fs::directory_entry& entry : entries) {
      const std::string name = entry.path().filename().native();
      const std::string path = folder.empty() ? name : folder + "/" + name;
      if (listed.count(path) != 0) continue;
      const bool needed = holding.count(path) != 0;
      std::error_code ignored;
      if (entry.is_directory(ignored) && (needed || !entry.is_symlink(ignored))) {
        if (needed || (holds(kFolders, first_folder(path)) && name[0] != '.')) pending.push_back(path);
      } else if (is_mistakable(path)) {
        mistakable.push_back(path);
      }
    }
  }
  std::sort(mistakable.begin(), mistakable.end());
  return mistakable;
}

}  // namespace poolfold
