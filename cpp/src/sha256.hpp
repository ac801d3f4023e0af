// SHA-256 in hex digits, computed by OpenSSL.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace poolfold {

// The hash of several pieces of memory, concatenated.
std::string sha256(std::initializer_list<std::string_view> pieces);

// The hash of a file, read in pieces. Throws std::system_error if it cannot be read.
std::string sha256_of_file(const std::string& path);

}  // namespace poolfold
