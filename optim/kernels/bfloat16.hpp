#pragma once

#include <bit>
#include <cstdint>

#include "scalevec/optim/core/host_device.hpp"

// Loading and storing an element of any parameter type, for the CPU's and the CUDA kernels: bfloat16 is computed in
// float.
namespace scalevec::kernels {

struct Bf16 {
  std::uint16_t bits;
};

// How far the numbers of a type lie apart from 1 to 2.
template <class P>
inline constexpr double kSpacing = 0x1p-52;
template <>
inline constexpr double kSpacing<float> = 0x1p-23;
template <>
inline constexpr double kSpacing<Bf16> = 0x1p-7;

SCALEVEC_HD float load(float x) { return x; }
SCALEVEC_HD double load(double x) { return x; }
SCALEVEC_HD float load(Bf16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

SCALEVEC_HD void store(float& to, float x) { to = x; }
SCALEVEC_HD void store(double& to, double x) { to = x; }

// To nearest, ties to even; every NaN becomes the quiet one.
SCALEVEC_HD void store(Bf16& to, float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
  to.bits = static_cast<std::uint16_t>(x != x ? 0x7FC0u : rounded);
}

}  // namespace scalevec::kernels
