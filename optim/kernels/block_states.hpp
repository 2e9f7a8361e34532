#pragma once

// A program that is compiled without -fopenmp-simd is not told so at every loop.
#if !defined(SCALEVEC_ISA_TABLE) && defined(__GNUC__)
#pragma GCC system_header
#endif

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "optim/kernels/rule_loops.hpp"
#include "optim/kernels/state_codes.hpp"
#include "optim/methods/block_method.hpp"

// States of 8 bits (state_codes.hpp), block by block and in vectors.
namespace scalevec::kernels {
namespace {

// What is added to the bits of y before those below the code are cut off: of a step and buffer, for the places of a
// block, twice.
struct Dither {
  alignas(64) std::uint32_t at[2 * kStateBlock];

  const std::uint32_t* of_block(std::int64_t block) const { return at + first_place(block); }
};

template <bool kSigned>
inline void fill_dither(std::uint32_t step, std::size_t buffer, Dither& dither) {
  const std::uint32_t begin = step * kWeylStep[buffer], by = kWeylIndex[buffer];
#pragma omp simd
  for (int i = 0; i < static_cast<int>(kStateBlock); ++i) {
    dither.at[i] = dither.at[i + static_cast<int>(kStateBlock)] =
        code_dither<kSigned>(begin, by, static_cast<std::uint32_t>(i));
  }
}

// Elements worked on at a time, their states decoded into the nearest cache.
constexpr std::int64_t kStatePart = 512;

// Asks for memory that the next part needs while this one is coded, in small portions: the processor's own prefetching
// does not see that far over so much arithmetic.
struct Ahead {
  const char* from;
  int element_size;

  // What belongs to 32 elements from the block's i-th on.
  inline __attribute__((always_inline)) void ask(int i) const {
    const char* at = from + i * element_size;
    for (int byte = 0; byte < 32 * element_size; byte += 64) __builtin_prefetch(at + byte);
  }
};

// Loops count in int, or what is made from the index would be 64 bits wide in the vectors.
template <bool kSigned, class T>
inline void decode_any(const std::uint8_t* __restrict__ codes, T scale, int size, T* __restrict__ out) {
#pragma omp simd
  for (int i = 0; i < size; ++i) out[i] = decoded<kSigned>(codes[i], scale);
}

// The largest finite |x|.
template <class T>
inline T largest_of(const T* __restrict__ in, int size) {
  T most = 0;
#pragma omp simd reduction(max : most)
  for (int i = 0; i < size; ++i) {
    const T x = in[i] < T(0) ? -in[i] : in[i];
    most = most < x ? x : most;
  }
  return most;
}

template <bool kSigned, class T>
inline void encode_any(const T* __restrict__ in, T inverse, int size, const std::uint32_t* __restrict__ dither,
                       std::uint8_t* __restrict__ codes) {
#pragma omp simd
  for (int i = 0; i < size; ++i) codes[i] = encoded<kSigned>(in[i], inverse, dither[i]);
}

// How a block is coded. `plain`: no value is above kCodeTop times the scale or a NaN.
template <class T>
struct BlockScale {
  T scale;
  bool plain;
};

#if defined(__AVX2__)
// The same codes by vectors: compilers widen and narrow bytes by twice as many instructions. The value y·s − o·s is
// rounded as (y − o)·s is: not at all.
inline __m256i broadcast_bits(std::uint32_t bits) { return _mm256_set1_epi32(static_cast<int>(bits)); }

// Whole groups of 32 elements; gives how many elements that was.
template <bool kSigned>
inline int decode_vectors(const std::uint8_t* __restrict__ codes, float scale, int size, float* __restrict__ out,
                          Ahead ahead) {
  const __m256 scales = _mm256_set1_ps(scale), offsets = _mm256_set1_ps(scale * kCodeOffset<kSigned>);
  const __m256i offset = broadcast_bits(kCodeOffsetBits<kSigned>);
  int i = 0;
  for (; i + 32 <= size; i += 32) {
    ahead.ask(i);
    __builtin_prefetch(codes + i + kStatePart);
#pragma GCC unroll 4
    for (int k = i; k < i + 32; k += 8) {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + k));
      __m256 x;
      if constexpr (kSigned) {
        const __m256i wide = _mm256_slli_epi32(_mm256_cvtepi8_epi32(bytes), kCodeShift);
        const __m256 y =
            _mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(wide, broadcast_bits(0x83F80000u)), offset));
        x = _mm256_fmsub_ps(y, scales, _mm256_or_ps(_mm256_and_ps(y, _mm256_set1_ps(-0.0f)), offsets));
      } else {
        const __m256i wide = _mm256_slli_epi32(_mm256_cvtepu8_epi32(bytes), kCodeShift);
        x = _mm256_fmsub_ps(_mm256_castsi256_ps(_mm256_or_si256(wide, offset)), scales, offsets);
      }
      _mm256_storeu_ps(out + k, x);
    }
  }
  return i;
}

// 32 elements. With kRoot the values go as their roots, which costs little beside the rest.
template <bool kSigned, bool kRoot>
inline __attribute__((always_inline)) void encode_vectors(float* __restrict__ in, float inverse,
                                                          const std::uint32_t* __restrict__ dither,
                                                          std::uint8_t* __restrict__ codes) {
  const __m256 inverses = _mm256_set1_ps(inverse), offset = _mm256_set1_ps(kCodeOffset<kSigned>);
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256i x[4], y[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const __m256 value = _mm256_loadu_ps(in + 8 * k);
    const __m256i random = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(dither + 8 * k));
    const __m256 from = kSigned ? _mm256_or_ps(_mm256_and_ps(value, _mm256_set1_ps(-0.0f)), offset) : offset;
    if constexpr (kRoot) _mm256_storeu_ps(in + 8 * k, _mm256_sqrt_ps(value));
    x[k] = _mm256_castps_si256(value);
    y[k] = _mm256_add_epi32(_mm256_castps_si256(_mm256_fmadd_ps(value, inverses, from)), random);
    y[k] = kSigned ? _mm256_srai_epi32(y[k], kCodeShift) : _mm256_srli_epi32(y[k], kCodeShift);
  }
  __m256i code;
  if constexpr (kSigned) {
    // In a word the sign is bit 8 and above; the offset's exponent reaches down to bit 7, where it is 1.
    const auto word = [](__m256i a, __m256i b) {
      const __m256i both = _mm256_packs_epi32(a, b);
      return _mm256_and_si256(both, _mm256_or_si256(_mm256_srli_epi16(both, 8), _mm256_set1_epi16(0x7F)));
    };
    code = _mm256_packus_epi16(word(y[0], y[1]), word(y[2], y[3]));
  } else {
    const auto word = [](__m256i a, __m256i b) {
      return _mm256_and_si256(_mm256_packus_epi32(a, b), _mm256_set1_epi16(0xFF));
    };
    const __m256i positive = _mm256_packus_epi16(_mm256_packs_epi32(x[0], x[1]), _mm256_packs_epi32(x[2], x[3]));
    code = _mm256_max_epu8(_mm256_packus_epi16(word(y[0], y[1]), word(y[2], y[3])),
                           _mm256_min_epu8(positive, _mm256_set1_epi8(1)));
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm256_permutevar8x32_epi32(code, in_order));
}

// The bits of the largest |x|, of a NaN where there is one. `size` is a multiple of 32.
inline std::uint32_t largest_bits(const float* __restrict__ in, int size) {
  __m256i most[4] = {};
  for (int i = 0; i < size; i += 32)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k)
      most[k] = _mm256_max_epu32(
          most[k], _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(in + i + 8 * k)), broadcast_bits(0x7FFFFFFFu)));
  const __m256i two = _mm256_max_epu32(_mm256_max_epu32(most[0], most[1]), _mm256_max_epu32(most[2], most[3]));
  __m128i one = _mm_max_epu32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
  one = _mm_max_epu32(one, _mm_shuffle_epi32(one, 0x4E));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_max_epu32(one, _mm_shuffle_epi32(one, 0xB1))));
}
#endif

template <bool kSigned, class T>
inline void decode_block(const std::uint8_t* __restrict__ codes, T scale, int size, T* __restrict__ out,
                         [[maybe_unused]] Ahead ahead) {
  int done = 0;
#if defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>) done = decode_vectors<kSigned>(codes, scale, size, out, ahead);
#endif
  if (done < size) decode_any<kSigned>(codes + done, scale, size - done, out + done);
}

template <class T>
inline BlockScale<T> scale_of_block(const T* __restrict__ in, int size) {
#if defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>)
    if (size == static_cast<int>(kStateBlock)) {
      const std::uint32_t most = largest_bits(in, size);
      if (most <= bits_of(0x1.Cp126f)) return {power_of_two_scale(float_of(most)), true};
    }
#endif
  return {power_of_two_scale(largest_of(in, size)), false};
}

// The rule of M::Rule on the elements [begin, end), which begin a block.
template <class M, class P, Sums kSums>
void apply_to_codes(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums, void* moved_by) {
  using T = Compute<P>;
  using Rule = typename M::Rule;
  T* const by = static_cast<T*>(moved_by);
  constexpr std::size_t kCount = M::kSigned.size();
  static_assert(kStatePart % kStateBlock == 0 && kStatePart % kBlock == 0 && kChunk % kStatePart == 0);
  alignas(64) T states[kCount][kStatePart];
  Job part{job.rule, job.dtype, nullptr, nullptr, {}, 0};
  for (std::size_t k = 0; k < kCount; ++k) part.state[k] = states[k];
  StepSums total;
  Dither dither[kCount];
  const auto each_buffer = [&](const auto& body) {
    [&]<std::size_t... k>(std::index_sequence<k...>) {
      (body(std::integral_constant<std::size_t, k>(), std::bool_constant<M::kSigned[k]>()), ...);
    }
    (std::make_index_sequence<kCount>());
  };
  each_buffer([&]<std::size_t k, bool kSigned>(std::integral_constant<std::size_t, k>, std::bool_constant<kSigned>) {
    fill_dither<kSigned>(job.rule.step, k, dither[k]);
  });
  for (std::int64_t from = begin; from < end; from += kStatePart) {
    const std::int64_t size = from + kStatePart < end ? kStatePart : end - from, first = job.first + from;
    // With the first buffer, the parameter's and the gradient's next part too.
    const auto ahead = [&](std::size_t k, const void* tensor, std::int64_t at) {
      return k == 0 ? Ahead{reinterpret_cast<const char*>(static_cast<const P*>(tensor) + at + kStatePart), sizeof(P)}
                    : Ahead{nullptr, 0};
    };
    const auto each_block = [&](const auto& body) {
      for (std::int64_t at = 0; at < size; at += kStateBlock)
        body(at, static_cast<int>(at + kStateBlock < size ? kStateBlock : size - at), (first + at) / kStateBlock);
    };
    each_buffer([&]<std::size_t k, bool kSigned>(std::integral_constant<std::size_t, k>, std::bool_constant<kSigned>) {
      const auto* codes = static_cast<const std::uint8_t*>(job.state[k]) + first;
      const auto* scales = static_cast<const T*>(job.state[kCount + k]);
      each_block([&](std::int64_t at, int count, std::int64_t block) {
        decode_block<kSigned>(codes + at, scales[block], count, states[k] + at, ahead(k, job.param, from + at));
      });
    });
    part.param = static_cast<P*>(job.param) + from;
    part.grad = static_cast<const P*>(job.grad) + from;
    StepSums of_part;
    constexpr unsigned kHeld = (1u << kCount) - 1;
    if constexpr (kInStages<Rule>)
      apply<typename Rule::Advance, kHeld, P, Sums::none>(part, 0, size, nullptr, nullptr);
    else
      apply<Rule, kHeld, P, kSums>(part, 0, size, &of_part, by ? by + from : nullptr);
    // All scales first: each takes a chain of instructions, and they go side by side.
    BlockScale<T> scale_of[kStatePart / kStateBlock][kCount];
    each_block([&](std::int64_t at, int count, std::int64_t block) {
      for (std::size_t k = 0; k < kCount; ++k) {
        scale_of[at / kStateBlock][k] = scale_of_block(states[k] + at, count);
        static_cast<T*>(job.state[kCount + k])[block] = scale_of[at / kStateBlock][k].scale;
      }
    });
    each_block([&](std::int64_t at, int count, std::int64_t block) {
      const auto& by_scale = scale_of[at / kStateBlock];
      std::uint8_t* codes[kCount];
      bool plain = true;
      for (std::size_t k = 0; k < kCount; ++k) {
        codes[k] = static_cast<std::uint8_t*>(job.state[k]) + first + at;
        plain &= by_scale[k].plain;
      }
#if defined(__AVX2__)
      if constexpr (std::is_same_v<T, float>)
        if (plain) {
          // The buffers by turns, so that the one's roots are found while the other is coded.
          const Ahead grad = ahead(0, job.grad, from + at);
          for (int i = 0; i < static_cast<int>(kStateBlock); i += 32) {
            grad.ask(i);
            each_buffer(
                [&]<std::size_t k, bool kSigned>(std::integral_constant<std::size_t, k>, std::bool_constant<kSigned>) {
                  const float inverse = float_of(0x7F000000u - bits_of(by_scale[k].scale));  // 1/s
                  encode_vectors<kSigned, kInStages<Rule> && k + 1 == kCount>(
                      states[k] + at + i, inverse, dither[k].of_block(block) + i, codes[k] + i);
                });
          }
          return;
        }
#endif
      each_buffer(
          [&]<std::size_t k, bool kSigned>(std::integral_constant<std::size_t, k>, std::bool_constant<kSigned>) {
            encode_any<kSigned>(states[k] + at, T(1) / by_scale[k].scale, count, dither[k].of_block(block), codes[k]);
          });
      if constexpr (kInStages<Rule>) {
        T* const last = states[kCount - 1] + at;
#pragma omp simd
        for (int i = 0; i < count; ++i) last[i] = std::sqrt(last[i]);
      }
    });
    if constexpr (kInStages<Rule>)
      apply<typename Rule::Move, kHeld, P, kSums>(part, 0, size, &of_part, by ? by + from : nullptr);
    if constexpr (kSums != Sums::none) total += of_part;
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
