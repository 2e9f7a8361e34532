#pragma once

#include <bit>
#include <cstdint>

#include "optim/core/random.hpp"

namespace scalevec::experiments {

// A pseudo-random permutation of [0, size) that depends on a key, evaluated at any index without a table: a balanced
// Feistel network on the next even number of bits, applied again until the result is below size (Black and Rogaway,
// "Ciphers with arbitrary finite domains", CT-RSA 2002).
class Permutation {
 public:
  // size in [1, 2⁶²].
  Permutation(std::uint64_t size, std::uint64_t seed, std::uint64_t stream)
      : size_(size),
        seed_(seed),
        stream_(stream),
        half_bits_((static_cast<int>(std::bit_width(size - 1)) + 1) / 2),
        mask_((std::uint64_t{1} << half_bits_) - 1) {}

  std::uint64_t operator()(std::uint64_t index) const {
    do {
      index = network(index);
    } while (index >= size_);
    return index;
  }

 private:
  static constexpr std::uint64_t kRounds = 8;

  std::uint64_t network(std::uint64_t index) const {
    std::uint64_t left = index >> half_bits_, right = index & mask_;
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      const std::uint64_t mixed = left ^ (random_bits(seed_, stream_, right * kRounds + round) & mask_);
      left = right;
      right = mixed;
    }
    return (left << half_bits_) | right;
  }

  std::uint64_t size_, seed_, stream_;
  int half_bits_;
  std::uint64_t mask_;
};

}  // namespace scalevec::experiments
