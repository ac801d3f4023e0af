// Formats names in messages as Python does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace poolfold {

// Python's repr of a str: quoted, and what does not print escaped.
std::string quote(std::string_view text);

// "a, b, c".
std::string join(const std::vector<std::string>& items);

// "[1, 2]": a shape.
std::string shape(const std::vector<std::int64_t>& dims);

// A path as Python's pathlib writes it: no "." parts, no doubled or trailing slash; ".." stays.
std::string plain_path(std::string_view path);

}  // namespace poolfold
