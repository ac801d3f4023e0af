// What an encoder may give back. Whatever else a session gives is an error, and is never returned.
#pragma once

#include <string>
#include <vector>

#include "poolfold/encoder.hpp"

namespace poolfold {

// Throws CheckFailed where a row is not finite, or is zero. `rows`: the caller's number of each row, for the message.
void check_vectors(const Vectors& vectors, const std::vector<std::size_t>& rows);

}  // namespace poolfold
