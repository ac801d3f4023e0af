// What a caller may hand to an encoder. Whatever else arrives is an InputError that names its place and its remedy.
// As poolfold/inputs.py.
#pragma once

#include <cstdint>
#include <vector>

#include "poolfold/manifest.hpp"
#include "session.hpp"

namespace poolfold {

// Throws InputError: ids outside the embedding table, a mask that is not made of 0 and 1, a row without any token, no
// token at all, or more tokens than the model takes.
void check_batch(const Batch& batch, const Model& model);

// As check_batch, for rows of any lengths without a mask.
void check_rows(const std::vector<std::vector<std::int64_t>>& rows, const Model& model);

// Throws InputError: a batch size of 0.
void check_batch_size(std::size_t batch_size);

}  // namespace poolfold
