#include "outputs.hpp"

#include <cmath>

#include "poolfold/errors.hpp"

namespace poolfold {
namespace {

constexpr std::size_t kShown = 5;

void refuse(const std::vector<std::size_t>& rows, const char* what) {
  if (rows.empty()) return;
  std::string shown;
  for (std::size_t index = 0; index < rows.size() && index < kShown; ++index)
    shown += (index ? ", row " : "row ") + std::to_string(rows[index]);
  if (rows.size() > kShown) shown += " and " + std::to_string(rows.size() - kShown) + " more";
  throw CheckFailed(std::string("the vector is ") + what + " for " + shown +
                    "; expected finite values, not all zero. Nothing is returned. "
                    "Try dtype fp32, and `poolfold validate` on the texts of these ids.");
}

}  // namespace

void check_vectors(const Vectors& vectors, const std::vector<std::size_t>& rows) {
  std::vector<std::size_t> broken, zero;
  for (std::size_t index = 0; index < vectors.rows; ++index) {
    bool finite = true, any = false;
    const float* row = vectors.row(index);
    for (std::size_t column = 0; column < vectors.dim; ++column) {
      finite = finite && std::isfinite(row[column]);
      any = any || row[column] != 0.0F;
    }
    if (!finite) broken.push_back(rows[index]);
    if (!any) zero.push_back(rows[index]);
  }
  refuse(broken, "not finite (NaN or infinity)");
  refuse(zero, "zero");
}

}  // namespace poolfold
