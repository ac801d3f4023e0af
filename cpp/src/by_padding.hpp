// Two forms of one graph in one session; a batch with much padding runs on the form that computes real tokens only.
// Independent of runtimes. As poolfold/sessions/by_padding.py.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "session.hpp"

namespace poolfold {

// The share of real tokens below which a batch runs on the padding-free form, where no share was measured.
inline constexpr double kFasterBelow = 0.8;

class ByPadding : public Session {
 public:
  using Open = std::function<std::unique_ptr<const Session>()>;

  // `plain` runs full batches and single texts. `open_padding_free` is called for the first batch that needs it, so that
  // a service without padded batches holds the weights once. `faster_below`: the share of real tokens in a batch below
  // which the padding-free form is faster.
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
