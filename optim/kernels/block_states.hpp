#pragma once

// A program that is compiled without -fopenmp-simd is not told so at every loop.
#if !defined(SCALEVEC_ISA_TABLE) && defined(__GNUC__)
#pragma GCC system_header
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

#include "optim/kernels/rule_loops.hpp"
#include "optim/methods/block_method.hpp"

// States of 8 bits. A block of kStateBlock elements has a scale, the power of two s that puts its largest |x|/s into
// (7/8, 7/4]; an element's code counts the floats y = |x|/s + o of 4 bits of mantissa from o on, o = 2⁻¹⁵, with a sign
// 2⁻⁷. So zero is a code, spacings are relative down to o and even below, and coding is arithmetic on a float's bits.
// Rounding is up or down by chance, with the value as the mean: a moment that moves by a thousandth a step would
// otherwise stay where it is. Of a state without sign the mean of the logarithm is kept: the noise that v gathers makes
// the mean of 1/v larger by its relative variance, and the drift upwards of such rounding takes just that back. The
// chance is a Weyl sequence in step and index. A positive state without sign keeps its lowest code, or a denominator
// would become zero.
namespace scalevec::kernels {
namespace {

template <bool kSigned>
constexpr float kCodeOffset = kSigned ? 0x1p-7f : 0x1p-15f;
template <bool kSigned>
constexpr std::uint32_t kCodeOffsetBits = std::bit_cast<std::uint32_t>(kCodeOffset<kSigned>);
constexpr int kCodeShift = 19;  // a float's bits below 4 of mantissa
constexpr float kCodeTop = 1.9375f;

// The fractional parts of n·√2 and of multiples of the golden ratio and its relatives, in 32 bits, one pair a buffer.
constexpr std::uint32_t kWeylStep[] = {0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au};
constexpr std::uint32_t kWeylIndex[] = {0x9E3779B9u, 0xC13FA9A9u, 0x91E10DA5u, 0xD1B54A33u};

inline float power_of_two_scale(float most) {
  const float bounded = most < 0x1p126f ? most : 0x1p126f;
  const std::uint32_t scale = (bits_of(bounded) + 0x1FFFFFu) & 0xFF800000u;
  return float_of(scale < 0x00800000u ? 0x00800000u : scale);
}
inline double power_of_two_scale(double most) {
  const double bounded = most < 0x1p1022 ? most : 0x1p1022;
  const std::uint64_t scale = (std::bit_cast<std::uint64_t>(bounded) + 0x3FFFFFFFFFFFFu) & 0xFFF0000000000000u;
  return std::bit_cast<double>(scale < 0x0010000000000000u ? std::uint64_t{0x0010000000000000u} : scale);
}

// Loops count in int, or the index that the chance is made from would be 64 bits wide in the vectors.
template <bool kSigned, class T>
inline void decode_block(const std::uint8_t* __restrict__ codes, T scale, int size, T* __restrict__ out) {
#pragma omp simd
  for (int i = 0; i < size; ++i) {
    const std::uint32_t code = codes[i], magnitude = kSigned ? code & 0x7Fu : code;
    const float x = float_of((magnitude << kCodeShift) + kCodeOffsetBits<kSigned>) - kCodeOffset<kSigned>;
    out[i] = static_cast<T>(kSigned ? float_of(bits_of(x) | (code & 0x80u) << 24) : x) * scale;
  }
}

// Gives the block's scale.
template <bool kSigned, class T>
inline T encode_block(const T* __restrict__ in, int size, std::uint32_t chance, std::uint32_t chance_by,
                      std::uint8_t* __restrict__ codes) {
  T most = 0;
#pragma omp simd reduction(max : most)
  for (int i = 0; i < size; ++i) {
    const T x = in[i] < T(0) ? -in[i] : in[i];
    most = most < x ? x : most;
  }
  const T scale = power_of_two_scale(most), inverse = T(1) / scale;
#pragma omp simd
  for (int i = 0; i < size; ++i) {
    const std::uint32_t x = bits_of(static_cast<float>(in[i] * inverse)), magnitude = x & 0x7FFFFFFFu;
    const float above = float_of(magnitude) + kCodeOffset<kSigned>, y = above < kCodeTop ? above : kCodeTop;
    std::uint32_t random = (chance + static_cast<std::uint32_t>(i) * chance_by) >> (32 - kCodeShift);
    if constexpr (!kSigned) {
      // u + κu(1 − u) in place of u: with κ half of the relative spacing, 3/128 here, the logarithm's mean is kept.
      const std::uint32_t u = random >> 11;
      const std::uint32_t moved = random + ((u * (256u - u) * 3u) >> 4), most_random = (1u << kCodeShift) - 1u;
      random = moved < most_random ? moved : most_random;
    }
    std::uint32_t code = (bits_of(y) - kCodeOffsetBits<kSigned> + random) >> kCodeShift;
    if constexpr (kSigned)
      code |= (x >> 24) & 0x80u;
    else
      code += static_cast<std::uint32_t>(code == 0) & static_cast<std::uint32_t>(magnitude != 0);
    codes[i] = static_cast<std::uint8_t>(code);
  }
  return scale;
}

// Elements worked on at a time, their states decoded into the nearest cache.
constexpr std::int64_t kStatePart = 1024;

// The rule of M::Rule on the elements [begin, end), which begin a block.
template <class M, class P, Sums kSums>
void apply_to_codes(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums, void* moved_by) {
  using T = Compute<P>;
  T* const by = static_cast<T*>(moved_by);
  constexpr std::size_t kCount = M::kSigned.size();
  static_assert(kStatePart % kStateBlock == 0 && kStatePart % kBlock == 0 && kChunk % kStatePart == 0);
  alignas(64) T states[kCount][kStatePart];
  Job part{job.rule, job.dtype, nullptr, nullptr, {}, 0};
  for (std::size_t k = 0; k < kCount; ++k) part.state[k] = states[k];
  StepSums total;
  const auto each_buffer = [&](const auto& body) {
    [&]<std::size_t... k>(std::index_sequence<k...>) {
      (body(std::integral_constant<std::size_t, k>(), std::bool_constant<M::kSigned[k]>()), ...);
    }
    (std::make_index_sequence<kCount>());
  };
  for (std::int64_t from = begin; from < end; from += kStatePart) {
    const std::int64_t size = from + kStatePart < end ? kStatePart : end - from, first = job.first + from;
    const auto each_block = [&](const auto& body) {
      for (std::int64_t at = 0; at < size; at += kStateBlock)
        body(at, static_cast<int>(at + kStateBlock < size ? kStateBlock : size - at), (first + at) / kStateBlock);
    };
    each_buffer([&]<std::size_t k, bool kSigned>(std::integral_constant<std::size_t, k>, std::bool_constant<kSigned>) {
      const auto* codes = static_cast<const std::uint8_t*>(job.state[k]) + first;
      const auto* scales = static_cast<const T*>(job.state[kCount + k]);
      each_block([&](std::int64_t at, int count, std::int64_t block) {
        decode_block<kSigned>(codes + at, scales[block], count, states[k] + at);
      });
    });
    part.param = static_cast<P*>(job.param) + from;
    part.grad = static_cast<const P*>(job.grad) + from;
    StepSums of_part;
    apply<typename M::Rule, (1u << kCount) - 1, P, kSums>(part, 0, size, &of_part, by ? by + from : nullptr);
    if constexpr (kSums != Sums::none) total += of_part;
    each_buffer([&]<std::size_t k, bool kSigned>(std::integral_constant<std::size_t, k>, std::bool_constant<kSigned>) {
      auto* codes = static_cast<std::uint8_t*>(job.state[k]) + first;
      auto* scales = static_cast<T*>(job.state[kCount + k]);
      const std::uint32_t chance = job.rule.step * kWeylStep[k] + static_cast<std::uint32_t>(first) * kWeylIndex[k];
      each_block([&](std::int64_t at, int count, std::int64_t block) {
        scales[block] = encode_block<kSigned>(
            states[k] + at, count, chance + static_cast<std::uint32_t>(at) * kWeylIndex[k], kWeylIndex[k], codes + at);
      });
    });
  }
  if constexpr (kSums == Sums::part)
    *sums += total;
  else if constexpr (kSums == Sums::all)
    *sums = total;
}

template <class M>
constexpr RuleLoops kCodeLoops{&apply_to_codes<M, float, Sums::none>, &apply_to_codes<M, float, Sums::all>,
                               &apply_to_codes<M, float, Sums::part>, &apply_to_codes<M, double, Sums::none>,
                               &apply_to_codes<M, double, Sums::all>, nullptr,
                               &apply_to_codes<M, Bf16, Sums::none>,  true,
                               (1u << 2 * M::kSigned.size()) - 1,     true};

}  // namespace
}  // namespace scalevec::kernels
