#include "open_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>

#include "poolfold/errors.hpp"
#include "sha256.hpp"

namespace poolfold {
namespace {

constexpr std::size_t kPiece = 1 << 20;
// Systems stamp writes to a file with a clock that ticks every 1 to 10 ms.
constexpr std::chrono::milliseconds kTick{20};
constexpr const char* kNotRegular = "not a regular file";

bool same_time(const struct stat& a, const struct stat& b) {
  return a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

}  // namespace

OpenFile::OpenFile(std::string path) : path_(std::move(path)) {
  // Without O_NONBLOCK, opening a named pipe would block for ever.
  number_ = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (number_ < 0) throw std::system_error(errno, std::generic_category());
  if (::fstat(number_, &opened_) == 0 && S_ISREG(opened_.st_mode)) return;
  ::close(number_);
  throw std::system_error(EINVAL, std::generic_category(), kNotRegular);
}

OpenFile::~OpenFile() {
  if (mapping_ != nullptr) ::munmap(mapping_, static_cast<std::size_t>(size()));
  ::close(number_);
}

std::string OpenFile::hash(bool keep) {
  Sha256 digest;
  const auto length = static_cast<std::size_t>(size());
  std::vector<char> content(keep ? length : std::min(length, kPiece));
  std::size_t done = 0;
  while (done < length) {
    char* piece = content.data() + (keep ? done : 0);
    const std::size_t most = std::min(kPiece, length - done);
    const ssize_t bytes = ::pread(number_, piece, most, static_cast<off_t>(done));
    if (bytes == 0) break;
    if (bytes < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category());
    if (bytes < 0) continue;
    digest.add(piece, static_cast<std::size_t>(bytes));
    done += static_cast<std::size_t>(bytes);
  }
  if (keep) {
    content_ = std::move(content);
    read_ = true;
  }
  return digest.hex();
}

std::string_view OpenFile::data() {
  const auto length = static_cast<std::size_t>(size());
  if (read_ || length == 0) return {content_.data(), content_.size()};
  if (mapping_ == nullptr) {
    settle();
    require_unchanged();  // nothing behind the end of a file can be mapped
    void* const mapping = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, number_, 0);
    if (mapping == MAP_FAILED)
      throw ArtifactError(path_ + " cannot be mapped: " + std::strerror(errno) + ". Load it with mmap off.");
    mapping_ = mapping;
  }
  return {static_cast<const char*>(mapping_), length};
}

void OpenFile::settle() const {
  using std::chrono::nanoseconds, std::chrono::seconds, std::chrono::system_clock;
  const auto written = seconds(opened_.st_mtim.tv_sec) + nanoseconds(opened_.st_mtim.tv_nsec);
  const auto age = std::chrono::duration_cast<nanoseconds>(system_clock::now().time_since_epoch()) - written;
  if (std::llabs(age.count()) < nanoseconds(kTick).count()) std::this_thread::sleep_for(kTick);
}

void OpenFile::release() const {
  if (mapping_ != nullptr) ::madvise(mapping_, static_cast<std::size_t>(size()), MADV_DONTNEED);
}

void OpenFile::require_unchanged() const {
  if (!is_mapped()) return;
  struct stat now;
  if (::fstat(number_, &now) != 0)
    throw ArtifactError(path_ + " cannot be read any more: " + std::strerror(errno) + ". Load it again.");
  if (now.st_size != opened_.st_size || !same_time(now, opened_))
    throw ArtifactError(path_ +
                        " was changed after it was opened. Load the artifact again; to replace one in use, write the "
                        "new one beside it and rename.");
}

std::shared_ptr<OpenFile> open_file(const std::string& path) {
  try {
    return std::make_shared<OpenFile>(path);
  } catch (const std::system_error& error) {
    throw ArtifactError(path + " cannot be read: " + reason(error) +
                        ". Fetch the artifact again, or check its permissions.");
  }
}

bool is_not_regular(const std::system_error& error) {
  return std::string(error.what()).rfind(kNotRegular, 0) == 0;
}

std::string reason(const std::system_error& error) {
  return is_not_regular(error) ? kNotRegular : std::strerror(error.code().value());
}

}  // namespace poolfold
