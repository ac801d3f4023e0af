// What runs a graph or an engine for an encoder: one implementation per runtime. Independent of the manifest.
#pragma once

#include <cstddef>
#include <cstdint>

#include <array>
#include <vector>

#include "poolfold/encoder.hpp"

namespace poolfold {

// A folded prompt: its tokens, and their keys and values, float32 [2 * attentions, heads, tokens, head].
struct PromptStates {
  std::vector<std::int64_t> ids;
  std::array<std::int64_t, 4> shape;
  std::vector<float> values;
};

// A batch in the caller's memory: int64 [batch, seq] twice, row after row. The mask is 1 on tokens, 0 on padding.
struct Batch {
  const std::int64_t* input_ids;
  const std::int64_t* attention_mask;
  std::size_t batch;
  std::size_t seq;
  // What stands before each row, which is then padded on the right; null for none.
  const PromptStates* prompt = nullptr;

  std::size_t size() const { return batch * seq; }
};

// Safe to share between threads.
class Session {
 public:
  Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  virtual ~Session() = default;

  // Embeds a batch: float32 [batch, dim]. The encoder checks the result.
  // Throws OutOfMemory: it takes more memory than this process may have.
  virtual Vectors run(const Batch& batch) const = 0;
};

}  // namespace poolfold
