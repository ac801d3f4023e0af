// Two forms of one graph behind one session: with much padding in a batch, the one that computes real tokens only.
// Knows sessions, and no runtime. As poolfold/sessions/by_padding.py.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "session.hpp"

namespace poolfold {

// The share of real tokens below which the padding-free form is taken where it was not measured.
inline constexpr double kFasterBelow = 0.8;

class ByPadding : public Session {
 public:
  using Open = std::function<std::unique_ptr<const Session>()>;

  // `plain` runs full batches and single texts. `open_padding_free` is called with the first batch that needs it, so
  // that a service without padded batches holds the weights once. `faster_below`: the share of real tokens in a batch
  // below which that form is faster.
  ByPadding(std::unique_ptr<const Session> plain, Open open_padding_free, double faster_below);

  Vectors run(const Batch& batch) const override;

 private:
  const Session& padding_free() const;

  std::unique_ptr<const Session> plain_;
  Open open_;
  double faster_below_;
  mutable std::mutex lock_;
  mutable std::unique_ptr<const Session> padding_free_;
};

}  // namespace poolfold
