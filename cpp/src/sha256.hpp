// SHA-256 in hex digits, by OpenSSL.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace poolfold {

// Of pieces of memory, one after the other.
std::string sha256(std::initializer_list<std::string_view> pieces);

// Of a file, read piece by piece. Throws std::system_error where it cannot be read.
std::string sha256_of_file(const std::string& path);

}  // namespace poolfold
