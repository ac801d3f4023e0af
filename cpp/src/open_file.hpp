// Opens a file of an artifact once, so that the bytes that were hashed are the bytes that are used. As
// poolfold/verify/files.py.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace poolfold {

// A regular file, open for reading as long as the object lives. Links are followed once, by the constructor.
class OpenFile {
 public:
  // Throws std::system_error: there is no such regular file, or it may not be read.
  explicit OpenFile(std::string path);
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile();

  const std::string& path() const { return path_; }
  std::int64_t size() const { return opened_.st_size; }

  // SHA-256 in hex digits, of size() bytes or of those that are there. `keep` holds the hashed bytes for data();
  // otherwise the file is read in pieces. Throws std::system_error.
  std::string hash(bool keep = false);

  // The content: as hash() read it, or else mapped. Throws ArtifactError: it was changed since it was opened.
  std::string_view data();

  // Whether data() changes when the file is written to.
  bool is_mapped() const { return !read_; }

  // Waits, if the file was written just now, until a later write would have another time.
  void settle() const;

  // Returns the mapped pages that were read so far; they are read again when they are needed.
  void release() const;

  // Throws ArtifactError: somebody has written to the file since it was opened, by its size and its time. Content in
  // memory needs no check.
  void require_unchanged() const;

 private:
  std::string path_;
  int number_;
  struct stat opened_;
  bool read_ = false;
  std::vector<char> content_;
  void* mapping_ = nullptr;
};

// Gives an open file by its path.
using FileSource = std::function<std::shared_ptr<OpenFile>(const std::string&)>;

// Opens a file that need not be checked. Throws ArtifactError: it cannot be read.
std::shared_ptr<OpenFile> open_file(const std::string& path);

// The message of the operating system, or "not a regular file".
std::string reason(const std::system_error& error);

// Whether an error says that a path leads to a folder, a pipe or a device.
bool is_not_regular(const std::system_error& error);

}  // namespace poolfold
