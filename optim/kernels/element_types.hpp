#pragma once

#include <bit>
#include <cstdint>

#include "optim/core/host_device.hpp"
#include "optim/core/random.hpp"

// Loading and storing an element of any parameter type, for the CPU's and the CUDA kernels. The types of 16 bits are
// computed in float; how a float becomes one of them again is a Rounding.
namespace scalevec::kernels {

struct Bf16 {
  std::uint16_t bits;
};

struct F16 {
  std::uint16_t bits;
};

// How the new value of a parameter of 16 bits is stored; parameters of other types know `nearest` only.
enum class Rounding : std::uint8_t {
  nearest,     // ties to even
  stochastic,  // to one of the two neighbours, by chance, so that the mean is the value
  compensated  // to nearest, and what is left is kept in a low part of 16 bits
};

template <class P>
inline constexpr bool kShort = sizeof(P) == 2;

// How far the numbers of a type lie apart from 1 to 2.
template <class P>
inline constexpr double kSpacing = 0x1p-52;
template <>
inline constexpr double kSpacing<float> = 0x1p-23;
template <>
inline constexpr double kSpacing<Bf16> = 0x1p-7;
template <>
inline constexpr double kSpacing<F16> = 0x1p-10;

SCALEVEC_HD std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
SCALEVEC_HD float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

SCALEVEC_HD float load(float x) { return x; }
SCALEVEC_HD double load(double x) { return x; }
SCALEVEC_HD float load(Bf16 x) { return float_of(std::uint32_t{x.bits} << 16); }
SCALEVEC_HD float load(F16 x) {
  const std::uint32_t magnitude = (std::uint32_t{x.bits} & 0x7FFFu) << 13, exponent = magnitude & 0x0F800000u;
  const std::uint32_t rebased = magnitude + (112u << 23);
  // A subnormal number k·2⁻²⁴ as (2⁻¹⁴ + k·2⁻²⁴) − 2⁻¹⁴.
  const std::uint32_t subnormal = bits_of(float_of(rebased + (1u << 23)) - 0x1p-14f);
  const std::uint32_t other = exponent == 0x0F800000u ? rebased + (112u << 23) : rebased;
  return float_of((exponent == 0 ? subnormal : other) | (std::uint32_t{x.bits} & 0x8000u) << 16);
}

// `a` where `first`, else `b`, of 32 bits throughout: compilers narrow a conditional expression whose result is stored
// in 16, and then do not vectorise the loop around it.
SCALEVEC_HD constexpr std::uint32_t choose(bool first, std::uint32_t a, std::uint32_t b) {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(first);
  return (a & mask) | (b & ~mask);
}

// The nearest number's bits, ties to even; every NaN becomes the quiet one.
SCALEVEC_HD std::uint32_t nearest_bf16(float x) {
  const std::uint32_t u = bits_of(x);
  return choose((u & 0x7FFFFFFFu) > 0x7F800000u, 0x7FC0u, (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}
SCALEVEC_HD std::uint32_t nearest_f16(float x) {
  const std::uint32_t u = bits_of(x), magnitude = u & 0x7FFFFFFFu;
  const bool small = magnitude < 0x38800000u;
  // The floats from 1/2 to 1 lie 2⁻²⁴ apart, as the subnormal numbers do.
  const std::uint32_t subnormal = bits_of(float_of(choose(small, magnitude, 0u)) + 0.5f) - 0x3F000000u;
  const std::uint32_t normal = (magnitude - (112u << 23) + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
  const std::uint32_t beyond = choose(magnitude > 0x7F800000u, 0x7E00u, 0x7C00u);  // 2¹⁶ and more, NaN
  return choose(small, subnormal, choose(magnitude < 0x47800000u, normal, beyond)) | ((u >> 16) & 0x8000u);
}

SCALEVEC_HD void store(float& to, float x) { to = x; }
SCALEVEC_HD void store(double& to, double x) { to = x; }
SCALEVEC_HD void store(Bf16& to, float x) { to.bits = static_cast<std::uint16_t>(nearest_bf16(x)); }
SCALEVEC_HD void store(F16& to, float x) { to.bits = static_cast<std::uint16_t>(nearest_f16(x)); }

// To one of x's two neighbours in the type: the one away from zero where the lowest bits of x, as a fraction of the
// spacing, exceed `random`, uniform in 32 bits. A value of the type stays. The probability is exact, but to 2⁻²⁴ among
// the subnormal numbers of float16. Beyond the largest finite number to nearest, so that chance makes nothing infinite.
SCALEVEC_HD void store_stochastic(Bf16& to, float x, std::uint32_t random) {
  const std::uint32_t u = bits_of(x);
  to.bits =
      static_cast<std::uint16_t>(choose((u & 0x7FFFFFFFu) >= 0x7F7F0000u, nearest_bf16(x), (u + (random >> 16)) >> 16));
}
SCALEVEC_HD void store_stochastic(F16& to, float x, std::uint32_t random) {
  const std::uint32_t u = bits_of(x), magnitude = u & 0x7FFFFFFFu;
  const bool small = magnitude < 0x38800000u;
  const float scaled = float_of(choose(small, magnitude, 0u)) * 0x1p24f;
  const auto whole = static_cast<std::int32_t>(scaled);
  const auto fraction = static_cast<std::int32_t>((scaled - static_cast<float>(whole)) * 0x1p24f);
  const auto subnormal =
      static_cast<std::uint32_t>(whole + (static_cast<std::int32_t>(random >> 8) < fraction ? 1 : 0));
  const std::uint32_t normal = (magnitude - (112u << 23) + (random >> 19)) >> 13;
  const std::uint32_t chosen = choose(small, subnormal, normal) | ((u >> 16) & 0x8000u);
  to.bits = static_cast<std::uint16_t>(choose(magnitude >= 0x477FE000u, nearest_f16(x), chosen));
}

// The numbers that store_stochastic() takes in step number `step` of the tensor that `stream` stands for: four, of the
// elements 4·kRandomSpan·(block / kRandomSpan) + block mod kRandomSpan + k·kRandomSpan for k = 0 … 3. They lie apart,
// so that a loop takes neighbours of one k together, and a thread on a device its four elements.
inline constexpr std::int64_t kRandomSpan = 256;
SCALEVEC_HD constexpr PhiloxBlock rounding_words(std::uint64_t stream, std::int64_t step, std::int64_t block) {
  return random_block(static_cast<std::uint64_t>(step), stream, static_cast<std::uint64_t>(block));
}

// A float in two parts of 16 bits: the nearest number of the type, and a low part from which joined() gives the float
// back. Of bfloat16 the low part is the difference of the floats' bits, so that any float is given back (ties go away
// from zero, or the low part would need a 17th bit). Of float16 it counts 2⁻¹⁴ of the spacing: a float of 2⁻¹⁴ and more
// is given back, a smaller one as a multiple of 2⁻³⁸. Where a program has written the high part since, joined() is off
// its value by half a spacing at most.
SCALEVEC_HD void split(Bf16& high, std::int16_t& low, float x) {
  const std::uint32_t u = bits_of(x), magnitude = u & 0x7FFFFFFFu;
  const std::uint32_t rounded = choose(magnitude > 0x7F800000u, 0x7FC0u, (magnitude + 0x8000u) >> 16);
  low = static_cast<std::int16_t>(choose(rounded >= 0x7F80u, 0u, magnitude - (rounded << 16)));
  high.bits = static_cast<std::uint16_t>(rounded | ((u >> 16) & 0x8000u));
}
SCALEVEC_HD float joined(Bf16 high, std::int16_t low) {
  const auto magnitude = static_cast<std::int32_t>((std::uint32_t{high.bits} & 0x7FFFu) << 16);
  const std::int32_t sum = magnitude + (magnitude < 0x7F800000 ? low : 0);
  return float_of(static_cast<std::uint32_t>(sum < 0 ? 0 : sum) | (std::uint32_t{high.bits} & 0x8000u) << 16);
}
SCALEVEC_HD void split(F16& high, std::int16_t& low, float x) {
  store(high, x);
  const std::uint32_t exponent = (std::uint32_t{high.bits} >> 10) & 31u, e = exponent == 0 ? 1u : exponent;
  const float units = (x - load(high)) * float_of((166u - e) << 23);
  // The sum's last place is 1, so that it is rounded to an integer. Not so of what is not finite.
  const float rounded = exponent == 31u ? 0.0f : (units + 0x1.8p23f) - 0x1.8p23f;
  low = static_cast<std::int16_t>(static_cast<std::int32_t>(rounded));
}
SCALEVEC_HD float joined(F16 high, std::int16_t low) {
  const std::uint32_t exponent = (std::uint32_t{high.bits} >> 10) & 31u, e = exponent == 0 ? 1u : exponent;
  return load(high) + (exponent == 31u ? 0.0f : static_cast<float>(low) * float_of((e + 88u) << 23));
}

}  // namespace scalevec::kernels
