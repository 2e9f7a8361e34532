#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// For sources that are compiled once per instruction set. Always inlined, so that code for one instruction set is never
// called from code for another.
namespace scalevec::models::kernels {

// e^x to 2 units in the last place for x in [−87, 88], which other x are clamped to; in a form that vectorises (Cody
// and Waite's reduction, a Taylor polynomial).
inline __attribute__((always_inline)) float exponential(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  const float shifted = x * 1.44269504f + 12582912.0f;  // rounds to an integer in the low mantissa bits
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const std::uint32_t bits = (std::bit_cast<std::uint32_t>(shifted) - 0x4B400000u + 127u) << 23;
  return p * std::bit_cast<float>(bits);
}
inline __attribute__((always_inline)) double exponential(double x) { return std::exp(x); }

}  // namespace scalevec::models::kernels
