// Checks the vectors that a session returns, before an encoder returns them.
#pragma once

#include <string>
#include <vector>

#include "poolfold/encoder.hpp"

namespace poolfold {

// Throws CheckFailed if a row is not finite, or is zero. `rows`: the caller's index of each row, for the message.
void check_vectors(const Vectors& vectors, const std::vector<std::size_t>& rows);

}  // namespace poolfold
