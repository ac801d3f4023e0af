// Checks the ids and masks that a caller passes to an encoder. An InputError names the wrong value and a remedy.
// As poolfold/inputs.py.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "poolfold/manifest.hpp"
#include "session.hpp"

namespace poolfold {

// Throws InputError: an id is outside the embedding table, a mask holds other values than 0 and 1, a row has no token,
// or a row has more tokens than the model accepts.
void check_batch(const Batch& batch, const Model& model);

// As check_batch, for rows of any lengths without a mask.
void check_rows(const std::vector<std::vector<std::int64_t>>& rows, const Model& model);

// Throws InputError: a batch size of 0.
void check_batch_size(std::size_t batch_size);

// Throws InputError: 0 bytes of memory.
void check_memory(std::optional<std::size_t> memory);

}  // namespace poolfold
