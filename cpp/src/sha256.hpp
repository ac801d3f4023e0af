// SHA-256 in hex digits, computed by OpenSSL.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace poolfold {

// The hash of bytes that come in pieces.
class Sha256 {
 public:
  Sha256();
  void add(const void* data, std::size_t bytes);
  std::string hex();

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

// The hash of several pieces of memory, concatenated.
std::string sha256(std::initializer_list<std::string_view> pieces);

}  // namespace poolfold
