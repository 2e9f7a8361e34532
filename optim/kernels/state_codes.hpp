#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "optim/core/host_device.hpp"
#include "optim/kernels/element_types.hpp"
#include "optim/methods/block_method.hpp"

// The code of one element of a state of 8 bits, for the CPU's and the CUDA kernels. A block of kStateBlock elements has
// a scale, the power of two s that puts its largest |x|/s into (7/8, 7/4]; an element's code counts the floats
// y = |x|/s + o of 4 bits of mantissa from o on, o = 2⁻¹⁵, with a sign 2⁻⁷. So zero is a code, spacings are relative
// down to o and even below, and coding is arithmetic on a float's bits. Rounding is up or down by chance, with the
// value as the mean: a moment that moves by a thousandth a step would otherwise stay where it is. Of a state without
// sign the mean of the logarithm is kept: the noise that v gathers makes the mean of 1/v larger by its relative
// variance, and the drift upwards of such rounding takes just that back. The chance is a Weyl sequence in step and
// place in the block, which each block begins elsewhere. A positive state without sign keeps its lowest code, or a
// denominator would become zero.
namespace scalevec::kernels {

template <bool kSigned>
inline constexpr float kCodeOffset = kSigned ? 0x1p-7f : 0x1p-15f;
template <bool kSigned>
inline constexpr std::uint32_t kCodeOffsetBits = std::bit_cast<std::uint32_t>(kCodeOffset<kSigned>);
inline constexpr int kCodeShift = 19;  // a float's bits below 4 of mantissa
inline constexpr float kCodeTop = 1.9375f;

// The fractional parts of n·√2 and of multiples of the golden ratio and its relatives, in 32 bits, one pair a buffer.
inline constexpr std::uint32_t kWeylStep[] = {0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au};
inline constexpr std::uint32_t kWeylIndex[] = {0x9E3779B9u, 0xC13FA9A9u, 0x91E10DA5u, 0xD1B54A33u};

// What is added at place i of a sequence to the bits of y before those below the code are cut off: `begin` and `by` are
// the step's number times kWeylStep and kWeylIndex of the buffer.
template <bool kSigned>
SCALEVEC_HD constexpr std::uint32_t code_dither(std::uint32_t begin, std::uint32_t by, std::uint32_t i) {
  std::uint32_t random = (begin + i * by) >> (32 - kCodeShift);
  if constexpr (!kSigned) {
    // u + κu(1 − u) in place of u: with κ half of the relative spacing, 3/128 here, the logarithm's mean is kept.
    const std::uint32_t u = random >> 11;
    const std::uint32_t moved = random + ((u * (256u - u) * 3u) >> 4), most_random = (1u << kCodeShift) - 1u;
    random = moved < most_random ? moved : most_random;
  }
  return random;
}

// Where a block begins in the sequence of kStateBlock places, which starts anew at its end.
SCALEVEC_HD constexpr std::uint32_t first_place(std::int64_t block) {
  constexpr std::uint32_t kPlaces = 32, kFirst = kWeylIndex[0];  // a vector's width apart
  return (static_cast<std::uint32_t>(block) * kFirst >> 27) * (static_cast<std::uint32_t>(kStateBlock) / kPlaces);
}

SCALEVEC_HD float power_of_two_scale(float most) {
  const float bounded = most < 0x1p126f ? most : 0x1p126f;
  const std::uint32_t scale = (bits_of(bounded) + 0x1FFFFFu) & 0xFF800000u;
  return float_of(scale < 0x00800000u ? 0x00800000u : scale);
}
SCALEVEC_HD double power_of_two_scale(double most) {
  const double bounded = most < 0x1p1022 ? most : 0x1p1022;
  const std::uint64_t scale = (std::bit_cast<std::uint64_t>(bounded) + 0x3FFFFFFFFFFFFu) & 0xFFF0000000000000u;
  return std::bit_cast<double>(scale < 0x0010000000000000u ? std::uint64_t{0x0010000000000000u} : scale);
}

template <bool kSigned, class T>
SCALEVEC_HD T decoded(std::uint8_t stored, T scale) {
  const std::uint32_t code = stored, magnitude = kSigned ? code & 0x7Fu : code;
  const float x = float_of((magnitude << kCodeShift) + kCodeOffsetBits<kSigned>) - kCodeOffset<kSigned>;
  return static_cast<T>(kSigned ? float_of(bits_of(x) | (code & 0x80u) << 24) : x) * scale;
}

template <bool kSigned, class T>
SCALEVEC_HD std::uint8_t encoded(T value, T inverse_scale, std::uint32_t dither) {
  const std::uint32_t x = bits_of(static_cast<float>(value * inverse_scale)), magnitude = x & 0x7FFFFFFFu;
  const float above = float_of(magnitude) + kCodeOffset<kSigned>, y = above < kCodeTop ? above : kCodeTop;
  std::uint32_t code = (bits_of(y) - kCodeOffsetBits<kSigned> + dither) >> kCodeShift;
  if constexpr (kSigned)
    code |= (x >> 24) & 0x80u;
  else
    code += static_cast<std::uint32_t>(code == 0) & static_cast<std::uint32_t>(value != T(0));
  return static_cast<std::uint8_t>(code);
}

}  // namespace scalevec::kernels
