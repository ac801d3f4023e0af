// A small artifact for tests: its manifest's JSON, the seal, and files in a temporary folder.
#pragma once

#include <filesystem>
#include <string>

#include "record.hpp"

// A whole manifest of one graph and no files.
poolfold::Json small_manifest();

// The sealed bytes of a manifest.
std::string seal(const poolfold::Json& manifest);

// A folder that goes with the object.
class Folder {
 public:
  Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder();
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void write_file(const std::filesystem::path& path, const std::string& content);

// The message of the error of type `Expected` that `call` throws; empty where it throws none.
template <typename Expected, typename Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Expected& error) {
    return error.what();
  }
  return "";
}
