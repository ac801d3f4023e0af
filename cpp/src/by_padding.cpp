#include "by_padding.hpp"

#include <utility>

#include "packing.hpp"

namespace poolfold {

ByPadding::ByPadding(std::unique_ptr<const Session> plain, Open open_padding_free, double faster_below)
    : plain_(std::move(plain)), open_(std::move(open_padding_free)), faster_below_(faster_below) {}

Vectors ByPadding::run(const Batch& batch) const {
  return token_share(batch) >= faster_below_ ? plain_->run(batch) : padding_free().run(batch);
}

const Session& ByPadding::padding_free() const {
  const std::lock_guard<std::mutex> held(lock_);
  if (!padding_free_) padding_free_ = open_();  // after an error, the next batch tries again
  return *padding_free_;
}

}  // namespace poolfold
