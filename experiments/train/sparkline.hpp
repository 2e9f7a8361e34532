#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace scalevec::experiments {

// A series of any length in fixed memory. It keeps the means (or largest values) of stretches of equal length; the
// stretches get longer as the series grows.
class History {
 public:
  enum class Keep { mean, largest };
  // At most `capacity` stretches, an even number.
  explicit History(std::size_t capacity, Keep keep) : capacity_(capacity), keep_(keep) {}

  void add(double value);
  // One value per stretch, oldest first; the last stretch may be shorter. A stretch with a value that is not finite is
  // NaN.
  const std::vector<double>& values() const { return values_; }
  // The value of a stretch that joins the stretches of `values`, which are assumed to have the same length.
  double summary(std::span<const double> values) const;

 private:
  double merged(double a, double b, double weight_of_b) const;

  std::size_t capacity_;
  Keep keep_;
  std::int64_t stretch_ = 1;  // values in a whole stretch
  std::int64_t in_last_ = 0;  // values in the last one
  std::vector<double> values_;
};

// One character per value. Its height shows where the value lies between the least and the largest finite value: ▁ to
// █, or in ASCII one of _.-~=+*#. A value that is not finite is "!". If all values are equal, they have the middle
// height.
std::string sparkline(std::span<const double> values, bool utf8);

}  // namespace scalevec::experiments
