#include "sha256.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace poolfold {
namespace {

constexpr std::size_t kPiece = 1 << 20;

class Hash {
 public:
  Hash() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    require(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void add(const void* data, std::size_t bytes) { require(EVP_DigestUpdate(context_.get(), data, bytes) == 1); }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    require(EVP_DigestFinal_ex(context_.get(), digest, &length) == 1);
    std::string digits;
    for (unsigned int i = 0; i < length; ++i) {
      digits += "0123456789abcdef"[digest[i] >> 4];
      digits += "0123456789abcdef"[digest[i] & 15];
    }
    return digits;
  }

 private:
  static void require(bool done) {
    if (!done) throw std::runtime_error("OpenSSL cannot compute SHA-256");
  }
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// A file descriptor that closes itself.
struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

}  // namespace

std::string sha256(std::initializer_list<std::string_view> pieces) {
  Hash hash;
  for (const std::string_view piece : pieces) hash.add(piece.data(), piece.size());
  return hash.hex();
}

std::string sha256_of_file(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.number < 0) throw std::system_error(errno, std::generic_category());
  Hash hash;
  std::vector<char> piece(kPiece);
  for (;;) {
    const ssize_t bytes = ::read(file.number, piece.data(), piece.size());
    if (bytes == 0) return hash.hex();
    if (bytes > 0) hash.add(piece.data(), static_cast<std::size_t>(bytes));
    if (bytes < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category());
  }
}

}  // namespace poolfold
