// Positions and share of the real tokens in a batch, for graphs and engines that compute real tokens only.
#pragma once

#include <vector>

#include "session.hpp"

namespace poolfold {

// Indices of the tokens in the flattened batch, rising: int64 [1, tokens]. The first position always counts as a token,
// as the graphs expect, so that there is at least one.
std::vector<std::int64_t> token_positions(const Batch& batch);

// The share of a batch's positions that hold tokens.
double token_share(const Batch& batch);

}  // namespace poolfold
