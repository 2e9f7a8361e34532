// Compiled once per instruction set with SCALEVEC_ISA_TABLE set. Everything but the table has internal linkage: code
// for a newer instruction set must not be picked by the linker for an older machine.
#include "theory/simulate/kernels.hpp"

#include <cmath>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "optim/methods/elementwise.hpp"

namespace scalevec::theory::simulate {
namespace {

// Every loop over lanes has this constant count and no remainder, so that all lanes run the same instructions.
#define SCALEVEC_LANES _Pragma("omp simd") for (std::size_t l = 0; l < kLanes; ++l)

// A step whose powers go on by products, which keeps 1 − βᵗ to 1e-13. η/(1 − β₁ᵗ) and 1/√(1 − β₂ᵗ) take one division.
template <std::size_t kPowers>
struct LaneStep {
  double lr, t;
  bool first;
  double power[kPowers];
  double bias, root, both;  // 1 − β₁ᵗ, √(1 − β₂ᵗ), the inverse of their product

  double over_bias(double x, std::size_t k) const {
    return kPowers == 2 && k == 0 ? x * root * both : x / (1.0 - power[k]);
  }
  double inverse_root_bias(std::size_t k) const {
    return kPowers == 2 && k == 1 ? bias * both : 1.0 / std::sqrt(1.0 - power[k]);
  }
};

template <class M, std::size_t... I>
inline __attribute__((always_inline)) typename M::Values lane_values(const double* rule, std::size_t l,
                                                                     std::index_sequence<I...>) {
  constexpr auto table = M::Values::table();
  typename M::Values values;
  (detail::set_value(std::get<I>(table).member, values, rule[(kOptionRows + I) * kLanes + l]), ...);
  return values;
}

template <class M, std::size_t... I>
inline __attribute__((always_inline)) typename M::template Constants<double> stored_constants(
    const double* rule, std::size_t l, std::index_sequence<I...>) {
  return {rule[(kConstantRows<M> + I) * kLanes + l]...};
}

// The constants of the step that the powers of one lane then have done.
template <class M>
inline __attribute__((always_inline)) typename M::template Constants<double> next_constants(double* __restrict rule,
                                                                                            double t, std::size_t l) {
  const auto values = lane_values<M>(rule, l, std::make_index_sequence<kOptions<M>>());
  const double lr = rule[kLr * kLanes + l];
  if constexpr (!kTimed<M>) {
    return M::constants(values, SteadyStep{lr, t == 1.0});
  } else if constexpr (kPowers<M> == 0) {
    return M::constants(values, StepAt<0>{lr, t, t == 1.0, {}});
  } else {
    LaneStep<kPowers<M>> step{lr, t, t == 1.0, {}, 0.0, 0.0, 0.0};
    const auto bases = M::powers(values);
    for (std::size_t k = 0; k < kPowers<M>; ++k) {
      step.power[k] = rule[(kPowerRows<M> + k) * kLanes + l] * bases[k];
      rule[(kPowerRows<M> + k) * kLanes + l] = step.power[k];
    }
    if constexpr (kPowers<M> == 2) {
      step.bias = 1.0 - step.power[0];
      step.root = std::sqrt(1.0 - step.power[1]);
      step.both = 1.0 / (step.bias * step.root);
    }
    return M::constants(values, step);
  }
}

// One parameter of one lane; kNew: with constants made here, which are stored if other rows follow. A function of its
// own, so that no struct stands in the loop over lanes, which keeps compilers from vectorising it.
template <class M, unsigned kHeldBuffers, bool kNew, bool kStore>
inline __attribute__((always_inline)) void step_lane(double* __restrict p, double* __restrict s0, double* __restrict s1,
                                                     double* __restrict s2, double* __restrict s3,
                                                     const double* __restrict g, double* __restrict rule, double t,
                                                     std::size_t l) {
  typename M::template Constants<double> constants;
  if constexpr (kNew)
    constants = next_constants<M>(rule, t, l);
  else
    constants = stored_constants<M>(rule, l, std::make_index_sequence<kConstants<M>>());
  if constexpr (kNew && kStore) {
    const auto flat = numbers<M>(constants);
    for (std::size_t k = 0; k < kConstants<M>; ++k) rule[(kConstantRows<M> + k) * kLanes + l] = flat[k];
  }
  const rules::Decay<double> decay{1.0, rule[kL2 * kLanes + l], rule[kShrink * kLanes + l], rule[kTarget * kLanes + l]};
  double a = kHeldBuffers & 1 ? s0[l] : 0.0;
  double b = kHeldBuffers & 2 ? s1[l] : 0.0;
  double c = kHeldBuffers & 4 ? s2[l] : 0.0;
  double d = kHeldBuffers & 8 ? s3[l] : 0.0;
  double inv_denom;
  p[l] = step_element<M, kHeldBuffers>(constants, decay, p[l], g[l], a, b, c, d, inv_denom);
  if constexpr (kHeldBuffers & 1) s0[l] = a;
  if constexpr (kHeldBuffers & 2) s1[l] = b;
  if constexpr (kHeldBuffers & 4) s2[l] = c;
  if constexpr (kHeldBuffers & 8) s3[l] = d;
}

template <class M, unsigned kHeldBuffers, bool kNew, bool kStore>
inline __attribute__((always_inline)) void step_row(const StepJob& job, std::size_t r) {
  double* __restrict p = job.param + r * kLanes;
  double* __restrict s0 = kHeldBuffers & 1 ? job.state[0] + r * kLanes : nullptr;
  double* __restrict s1 = kHeldBuffers & 2 ? job.state[1] + r * kLanes : nullptr;
  double* __restrict s2 = kHeldBuffers & 4 ? job.state[2] + r * kLanes : nullptr;
  double* __restrict s3 = kHeldBuffers & 8 ? job.state[3] + r * kLanes : nullptr;
  const double* __restrict g = job.grad + r * kLanes;
  double* __restrict rule = job.rule;
  const double t = job.t;
  SCALEVEC_LANES step_lane<M, kHeldBuffers, kNew, kStore>(p, s0, s1, s2, s3, g, rule, t, l);
}

template <class M, unsigned kHeldBuffers>
void step(const StepJob& job) {
  std::size_t r = 0;
  if (job.anew && (kTimed<M> && job.rows == 1))
    step_row<M, kHeldBuffers, true, false>(job, r++);
  else if (job.anew)
    step_row<M, kHeldBuffers, true, true>(job, r++);
  for (; r < job.rows; ++r) step_row<M, kHeldBuffers, false, false>(job, r);
}

using Step = void (*)(const StepJob&);
template <class M, std::size_t... subset>
Step step_of(std::size_t wanted, std::index_sequence<subset...>) {
  Step found = nullptr;
  ((subset == wanted ? void(found = &step<M, held_by<M>(subset)>) : void()), ...);
  return found;
}

Step step_of(std::size_t rule, std::size_t subset) {
  Step found = nullptr;
  std::size_t at = 0;
  for_each_type(SimulatedRules(), [&]<class M>(std::type_identity<M>) {
    if (at++ == rule) found = step_of<M>(subset, std::make_index_sequence<kSubsets<M>>());
  });
  return found;
}

double from_bits(std::uint64_t bits) { return __builtin_bit_cast(double, bits); }
std::uint64_t to_bits(double x) { return __builtin_bit_cast(std::uint64_t, x); }

// uniform_from_bits() without a conversion that older instruction sets lack: [1, 2) less 1 − 2⁻⁵³, exactly.
double uniform(std::uint64_t bits) { return from_bits(0x3FF0000000000000u | (bits >> 12)) - (1.0 - 0x1.0p-53); }

// ln u for u in (0, 1) within 1 ulp: fdlibm's e_log, without its branches.
double log_unit(double u) {
  const std::uint64_t bits = to_bits(u) + (std::uint64_t{0x3ff00000u - 0x3fe6a09eu} << 32);
  const double k = from_bits(0x4330000000000000u | (bits >> 52)) - (4503599627370496.0 + 1023.0);
  const double f = from_bits((bits & 0x000fffffffffffffu) + (std::uint64_t{0x3fe6a09eu} << 32)) - 1.0;
  const double s = f / (2.0 + f), z = s * s, w = z * z, half = 0.5 * f * f;
  const double odd = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const double even =
      z * (6.666666666666735130e-01 +
           w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  return k * 6.93147180369123816490e-01 - ((half - (s * (half + odd + even) + k * 1.90821492927058770002e-10)) - f);
}

// cos 2πv and sin 2πv for v in (0, 1): v less the nearest quarter turn, exactly, then fdlibm's polynomials on ±π/4.
struct Turn {
  double cos, sin;
};
Turn turns(double v) {
  const double quarter = (4.0 * v + 6755399441055744.0) - 6755399441055744.0;  // the nearest whole number, 0 … 4
  const double x = 6.283185307179586476925 * (v - 0.25 * quarter), z = x * x;
  const double sine = x + x * z *
                              (-1.66666666666666324348e-01 +
                               z * (8.33333333332248946124e-03 +
                                    z * (-1.98412698298579493134e-04 +
                                         z * (2.75573137070700676789e-06 +
                                              z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
  const double cosine = 1.0 - 0.5 * z +
                        z * z *
                            (4.16666666666666019037e-02 +
                             z * (-1.38888888888741095749e-03 +
                                  z * (2.48015872894767294178e-05 +
                                       z * (-2.75573143513906633035e-07 +
                                            z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
  const bool odd = quarter == 1.0 || quarter == 3.0;
  const double c = odd ? sine : cosine, s = odd ? cosine : sine;
  return {quarter == 1.0 || quarter == 2.0 ? -c : c, quarter == 2.0 || quarter == 3.0 ? -s : s};
}

// Counters in 64-bit lanes of which the low halves count.
#if defined(__AVX512F__)
using Lanes64 = std::uint64_t __attribute__((vector_size(64)));
#elif defined(__AVX2__)
using Lanes64 = std::uint64_t __attribute__((vector_size(32)));
#else
using Lanes64 = std::uint64_t __attribute__((vector_size(16)));
#endif

// Products of the low halves, for which compilers do not find the one instruction that they are.
Lanes64 times_low(Lanes64 a, std::uint32_t factor) {
#if defined(__AVX512F__)
  return (Lanes64)_mm512_maskz_mul_epu32(0xff, (__m512i)a, _mm512_set1_epi64(factor));
#elif defined(__AVX2__)
  return (Lanes64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(factor));
#elif defined(__SSE2__)
  return (Lanes64)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(factor));
#else
  return (a & 0xffffffffu) * factor;
#endif
}

// Philox4x32-10 (optim/core/random.hpp): words 1, 0 and 3, 2 of every lane's block.
void random_bits(std::uint64_t seed, const std::uint64_t* streams, std::uint64_t block, std::uint64_t* first,
                 std::uint64_t* second) {
  constexpr std::size_t width = sizeof(Lanes64) / sizeof(std::uint64_t);
  for (std::size_t l = 0; l < kLanes; l += width) {
    Lanes64 stream;
    std::memcpy(&stream, streams + l, sizeof stream);
    Lanes64 c0 = Lanes64{} + block, c1 = c0 >> 32, c2 = stream, c3 = stream >> 32;
    std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const Lanes64 a = times_low(c0, 0xD2511F53u), b = times_low(c2, 0xCD9E8D57u);
      c0 = (b >> 32) ^ c1 ^ key0;
      c1 = b;
      c2 = (a >> 32) ^ c3 ^ key1;
      c3 = a;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    const Lanes64 one = (c1 << 32) | (c0 & 0xffffffffu), other = (c3 << 32) | (c2 & 0xffffffffu);
    std::memcpy(first + l, &one, sizeof one);
    std::memcpy(second + l, &other, sizeof other);
  }
}

// To a few ulp.
void normals(std::uint64_t seed, const std::uint64_t* streams, std::uint64_t block, double* even, double* odd) {
  alignas(64) std::uint64_t first[kLanes], second[kLanes];
  random_bits(seed, streams, block, first, second);
  SCALEVEC_LANES {
    const double radius = std::sqrt(-2.0 * log_unit(uniform(first[l])));
    const Turn turn = turns(uniform(second[l]));
    even[l] = radius * turn.cos;
    odd[l] = radius * turn.sin;
  }
}

template <bool has_v, bool has_u, bool noisy>
void map_of(const MapJob& job) {
  alignas(64) double total[kLanes] = {}, row_grad[kLanes];
  if (has_v)
    for (std::size_t x = 0; x < job.branches * job.columns * kLanes; ++x) job.grad_v[x] = 0.0;
  const double* sigma = job.sigma;
  for (std::size_t i = 0; i < job.rows; ++i) {
    const std::size_t branch = i * job.branches / job.rows;
    const double* u = has_u ? job.u + i * kLanes : nullptr;
    if (has_u) SCALEVEC_LANES row_grad[l] = 0.0;
    for (std::size_t j = 0; j < job.columns; ++j) {
      const std::size_t at = (i * job.columns + j) * kLanes, scale = (branch * job.columns + j) * kLanes;
      const double *h = job.h + at, *target = job.target + at, *w = job.w + at;
      const double *v = has_v ? job.v + scale : nullptr, *noise = noisy ? job.noise + at : nullptr;
      double* __restrict grad_w = job.grad_w + at;
      double* __restrict grad_v = has_v ? job.grad_v + scale : nullptr;
      SCALEVEC_LANES {
        const double uw = has_u ? u[l] * w[l] : w[l], gap = (has_v ? uw * v[l] : uw) - target[l], pull = h[l] * gap;
        total[l] += 0.5 * pull * gap;
        const double grad = noisy ? pull + sigma[l] * noise[l] : pull;
        const double ug = has_u ? u[l] * grad : grad;
        grad_w[l] = has_v ? v[l] * ug : ug;
        if (has_v) grad_v[l] += w[l] * ug;
        if (has_u) row_grad[l] += (has_v ? w[l] * v[l] : w[l]) * grad;
      }
    }
    if (has_u) SCALEVEC_LANES job.grad_u[i * kLanes + l] = row_grad[l];
  }
  SCALEVEC_LANES job.loss[l] = total[l];
}

void map(const MapJob& job) {
  constexpr void (*loops[])(const MapJob&) = {&map_of<false, false, false>, &map_of<false, false, true>,
                                              &map_of<false, true, false>,  &map_of<false, true, true>,
                                              &map_of<true, false, false>,  &map_of<true, false, true>,
                                              &map_of<true, true, false>,   &map_of<true, true, true>};
  loops[4 * (job.v != nullptr) + 2 * (job.u != nullptr) + (job.noise != nullptr)](job);
}

void form_forward(const FormJob& job) {
  alignas(64) double squares[kLanes] = {};
  for (std::size_t j = 0; j < job.columns; ++j) {
    const double* alpha = job.alpha + j * kLanes;
    SCALEVEC_LANES squares[l] += alpha[l] * alpha[l];
  }
  const double root = std::sqrt(static_cast<double>(job.columns));
  SCALEVEC_LANES job.inverse_norm[l] = job.unit ? root / std::sqrt(squares[l]) : 1.0;
  for (std::size_t j = 0; j < job.columns; ++j) {
    const double* alpha = job.alpha + j * kLanes;
    double* v = job.v + j * kLanes;
    SCALEVEC_LANES v[l] = job.magnitude[l] * alpha[l] * job.inverse_norm[l];
  }
}

void form_backward(const FormJob& job) {
  alignas(64) double along[kLanes] = {};  // α·∂L/∂v
  for (std::size_t j = 0; j < job.columns; ++j) {
    const double *alpha = job.alpha + j * kLanes, *grad = job.grad_v + j * kLanes;
    SCALEVEC_LANES along[l] += alpha[l] * grad[l];
  }
  // α̂α̂·g = α (α·g) inverse_norm²/d.
  const double share = job.unit ? 1.0 / static_cast<double>(job.columns) : 0.0;
  SCALEVEC_LANES job.grad_magnitude[l] = along[l] * job.inverse_norm[l];
  for (std::size_t j = 0; j < job.columns; ++j) {
    const double *alpha = job.alpha + j * kLanes, *grad = job.grad_v + j * kLanes;
    double* out = job.grad_alpha + j * kLanes;
    SCALEVEC_LANES {
      const double inverse = job.inverse_norm[l];
      out[l] = job.magnitude[l] * inverse * (grad[l] - alpha[l] * (along[l] * inverse * inverse * share));
    }
  }
}

}  // namespace

extern const Table SCALEVEC_ISA_TABLE;
const Table SCALEVEC_ISA_TABLE{static_cast<Step (*)(std::size_t, std::size_t)>(&step_of), &normals, &map, &form_forward,
                               &form_backward};

}  // namespace scalevec::theory::simulate
