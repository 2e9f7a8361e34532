#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "optim/core/host_device.hpp"

// Counter-based random numbers: every value is a pure function of (seed, stream, index), so that nothing depends on the
// order of draws, on a batch's size or on what else a model holds.
namespace scalevec {

struct PhiloxBlock {
  std::uint32_t word[4];
};

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
SCALEVEC_HD constexpr PhiloxBlock philox(PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter.word[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter.word[2];
    counter =
        PhiloxBlock{{static_cast<std::uint32_t>(b >> 32) ^ counter.word[1] ^ key0, static_cast<std::uint32_t>(b),
                     static_cast<std::uint32_t>(a >> 32) ^ counter.word[3] ^ key1, static_cast<std::uint32_t>(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

SCALEVEC_HD constexpr PhiloxBlock random_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  return philox(PhiloxBlock{{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                             static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
                static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

SCALEVEC_HD constexpr std::uint64_t random_bits(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  const PhiloxBlock b = random_block(seed, stream, index);
  return (std::uint64_t{b.word[1]} << 32) | b.word[0];
}

// Uniform in (0, 1), 52 bits, never 0 or 1.
SCALEVEC_HD constexpr double uniform_from_bits(std::uint64_t bits) {
  return (static_cast<double>(bits >> 12) + 0.5) * 0x1.0p-52;
}

SCALEVEC_HD constexpr double random_uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  return uniform_from_bits(random_bits(seed, stream, index));
}

// Box-Muller's radius and angle from the two halves of one block.
struct Polar {
  double radius, angle;
};
SCALEVEC_HD Polar random_polar(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  const PhiloxBlock b = random_block(seed, stream, index);
  const double u = uniform_from_bits((std::uint64_t{b.word[1]} << 32) | b.word[0]);
  const double v = uniform_from_bits((std::uint64_t{b.word[3]} << 32) | b.word[2]);
  return {std::sqrt(-2.0 * std::log(u)), 6.283185307179586476925 * v};
}

// Standard normal.
SCALEVEC_HD double random_normal(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  const Polar p = random_polar(seed, stream, index);
  return p.radius * std::cos(p.angle);
}

// Number `index` of the sequence that takes both of Box-Muller's results from every block, cosine before sine: half the
// cost of random_normal() for whoever draws in order.
SCALEVEC_HD double random_normal_of_pair(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  const Polar p = random_polar(seed, stream, index / 2);
  return p.radius * (index % 2 == 0 ? std::cos(p.angle) : std::sin(p.angle));
}

// The stream a name stands for: FNV-1a, 64 bits.
constexpr std::uint64_t stream_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  return hash;
}

}  // namespace scalevec
