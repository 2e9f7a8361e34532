#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace scalevec {

// A series of any length in fixed memory: means (or largest values) of ever longer stretches of equal length.
class History {
 public:
  enum class Keep { mean, largest };
  // At most `capacity` stretches, an even number.
  explicit History(std::size_t capacity, Keep keep) : capacity_(capacity), keep_(keep) {}

  void add(double value);
  // Oldest first; the last one may be of a shorter stretch. A stretch with a value that is not finite is NaN.
  const std::vector<double>& values() const { return values_; }
  // What a stretch that joins those of `values` would hold, taking them for equally long.
  double summary(std::span<const double> values) const;

 private:
  double merged(double a, double b, double weight_of_b) const;

  std::size_t capacity_;
  Keep keep_;
  std::int64_t stretch_ = 1;  // values in a whole stretch
  std::int64_t in_last_ = 0;  // values in the last one
  std::vector<double> values_;
};

// One character per value, its height between the least and the largest of those that are finite: ▁ to █, or in ASCII
// one of _.-~=+*#. A value that is not finite is "!". Values that are all equal stand at the middle height.
std::string sparkline(std::span<const double> values, bool utf8);

}  // namespace scalevec
