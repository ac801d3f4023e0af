// Which places of a batch hold tokens: for graphs and engines that compute real tokens only, and for who chooses them.
#pragma once

#include <vector>

#include "session.hpp"

namespace poolfold {

// Places of the tokens in a batch laid out as one row, rising: int64 [1, tokens]. The first place counts as a token
// whatever the mask says of it, as the graphs expect: there is one at least then.
std::vector<std::int64_t> token_positions(const Batch& batch);

// Share of a batch's places that hold tokens.
double token_share(const Batch& batch);

}  // namespace poolfold
