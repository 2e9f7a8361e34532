// Compiled once per instruction set with SCALEVEC_ISA_TABLE set. Everything but the table has internal linkage: code
// for a newer instruction set must not be picked by the linker for an older machine.
#include "scalevec/theory/simulate/kernels.hpp"

#include <cmath>

#include "scalevec/optim/core/update_rules.hpp"

namespace scalevec::simulate {
namespace {

// Every loop over lanes has this constant count and no remainder, so that all lanes run the same instructions.
#define SCALEVEC_LANES _Pragma("omp simd") for (std::size_t l = 0; l < kLanes; ++l)

struct Constants {
  const double* row;
  const double* operator[](RuleRow r) const { return row + r * kLanes; }
};

void step_sgd(const StepJob& job) {
  const Constants k{job.rule};
  const double *l2 = k[kL2], *shrink = k[kShrink], *target = k[kTarget], *lr = k[kLr], *momentum = k[kMomentum],
               *kept = k[kKept], *nesterov = k[kNesterov];
  for (std::size_t r = 0; r < job.rows; ++r) {
    double* __restrict p = job.param + r * kLanes;
    double* __restrict b = job.state[0] + r * kLanes;
    const double* __restrict g = job.grad + r * kLanes;
    SCALEVEC_LANES {
      const rules::Sgd<double> rule{
          {1.0, l2[l], shrink[l], target[l]}, lr[l], momentum[l], kept[l], nesterov[l] != 0.0};
      p[l] = rule(p[l], g[l], b[l]);
    }
  }
}

void step_signum(const StepJob& job) {
  const Constants k{job.rule};
  const double *l2 = k[kL2], *shrink = k[kShrink], *target = k[kTarget], *lr = k[kLr], *kept = k[kKept];
  for (std::size_t r = 0; r < job.rows; ++r) {
    double* __restrict p = job.param + r * kLanes;
    double* __restrict b = job.state[0] + r * kLanes;
    const double* __restrict g = job.grad + r * kLanes;
    SCALEVEC_LANES {
      const rules::Signum<double> rule{{1.0, l2[l], shrink[l], target[l]}, lr[l], kept[l]};
      p[l] = rule(p[l], g[l], b[l]);
    }
  }
}

void step_lion(const StepJob& job) {
  const Constants k{job.rule};
  const double *l2 = k[kL2], *shrink = k[kShrink], *target = k[kTarget], *lr = k[kLr], *a = k[kOneMinusBeta1],
               *b = k[kOneMinusBeta2];
  for (std::size_t r = 0; r < job.rows; ++r) {
    double* __restrict p = job.param + r * kLanes;
    double* __restrict m = job.state[0] + r * kLanes;
    const double* __restrict g = job.grad + r * kLanes;
    SCALEVEC_LANES {
      const rules::Lion<double> rule{{1.0, l2[l], shrink[l], target[l]}, lr[l], a[l], b[l]};
      p[l] = rule(p[l], g[l], m[l]);
    }
  }
}

// β₁ᵗ and β₂ᵗ go on by a product, which keeps 1 − βᵗ to 1e-13, and the step's constants follow.
void advance(const StepJob& job) {
  double* const k = job.rule;
  double* __restrict p1 = k + kPower1 * kLanes;
  double* __restrict p2 = k + kPower2 * kLanes;
  double* __restrict size = k + kStepSize * kLanes;
  double* __restrict inverse = k + kInvSqrtBias2 * kLanes;
  const double *b1 = k + kBeta1 * kLanes, *b2 = k + kBeta2 * kLanes, *lr = k + kLr * kLanes;
  SCALEVEC_LANES {
    p1[l] *= b1[l];
    p2[l] *= b2[l];
    size[l] = lr[l] / (1.0 - p1[l]);
    inverse[l] = 1.0 / std::sqrt(1.0 - p2[l]);
  }
}

void step_adamw(const StepJob& job) {
  advance(job);
  const Constants k{job.rule};
  const double *l2 = k[kL2], *shrink = k[kShrink], *target = k[kTarget], *a = k[kOneMinusBeta1], *b2 = k[kBeta2],
               *b = k[kOneMinusBeta2], *size = k[kStepSize], *inverse = k[kInvSqrtBias2], *eps = k[kEps];
  for (std::size_t r = 0; r < job.rows; ++r) {
    double* __restrict p = job.param + r * kLanes;
    double* __restrict m = job.state[0] + r * kLanes;
    double* __restrict v = job.state[1] + r * kLanes;
    const double* __restrict g = job.grad + r * kLanes;
    SCALEVEC_LANES {
      const rules::AdamW<double> rule{
          {1.0, l2[l], shrink[l], target[l]}, a[l], b2[l], b[l], size[l], inverse[l], eps[l]};
      double inv_denom;
      p[l] = rule(p[l], g[l], m[l], v[l], inv_denom);
    }
  }
}

void step_ademamix(const StepJob& job) {
  advance(job);
  const Constants k{job.rule};
  const double *l2 = k[kL2], *shrink = k[kShrink], *target = k[kTarget], *lr = k[kLr], *a = k[kOneMinusBeta1],
               *b2 = k[kBeta2], *b = k[kOneMinusBeta2], *c = k[kOneMinusBeta3], *alpha = k[kAlpha],
               *size = k[kStepSize], *inverse = k[kInvSqrtBias2], *eps = k[kEps];
  for (std::size_t r = 0; r < job.rows; ++r) {
    double* __restrict p = job.param + r * kLanes;
    double* __restrict fast = job.state[0] + r * kLanes;
    double* __restrict v = job.state[1] + r * kLanes;
    double* __restrict slow = job.state[2] + r * kLanes;
    const double* __restrict g = job.grad + r * kLanes;
    SCALEVEC_LANES {
      const rules::AdEMAMix<double> rule{
          {1.0, l2[l], shrink[l], target[l]}, a[l], b2[l], b[l], c[l], size[l], lr[l] * alpha[l], inverse[l], eps[l]};
      double inv_denom;
      p[l] = rule(p[l], g[l], fast[l], slow[l], v[l], inv_denom);
    }
  }
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

// To a few ulp.
void normals(std::uint64_t seed, const std::uint64_t* streams, std::uint64_t block, double* even, double* odd) {
  constexpr std::uint64_t kLow = 0xffffffffu;
  SCALEVEC_LANES {
    std::uint64_t c0 = block & kLow, c1 = block >> 32, c2 = streams[l] & kLow, c3 = streams[l] >> 32;
    std::uint64_t key0 = seed & kLow, key1 = seed >> 32;
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t a = 0xD2511F53u * c0, b = 0xCD9E8D57u * c2;
      c0 = (b >> 32) ^ c1 ^ key0;
      c1 = b & kLow;
      c2 = (a >> 32) ^ c3 ^ key1;
      c3 = a & kLow;
      key0 = (key0 + 0x9E3779B9u) & kLow;
      key1 = (key1 + 0xBB67AE85u) & kLow;
    }
    const double radius = std::sqrt(-2.0 * log_unit(uniform((c1 << 32) | c0)));
    const Turn turn = turns(uniform((c3 << 32) | c2));
    even[l] = radius * turn.cos;
    odd[l] = radius * turn.sin;
  }
}

void map(const MapJob& job) {
  double total[kLanes] = {}, row_grad[kLanes];
  double ones[kLanes];
  for (double& x : ones) x = 1.0;
  if (job.grad_v)
    for (std::size_t x = 0; x < job.branches * job.columns * kLanes; ++x) job.grad_v[x] = 0.0;
  for (std::size_t i = 0; i < job.rows; ++i) {
    const std::size_t branch = i * job.branches / job.rows;
    const double* u = job.u ? job.u + i * kLanes : ones;
    SCALEVEC_LANES row_grad[l] = 0.0;
    for (std::size_t j = 0; j < job.columns; ++j) {
      const std::size_t at = (i * job.columns + j) * kLanes, scale = (branch * job.columns + j) * kLanes;
      const double *h = job.h + at, *target = job.target + at, *w = job.w + at, *v = job.v ? job.v + scale : ones;
      const double *noise = job.noise ? job.noise + at : nullptr, *sigma = job.sigma;
      double* __restrict grad_w = job.grad_w + at;
      double grad[kLanes];
      SCALEVEC_LANES {
        const double gap = u[l] * w[l] * v[l] - target[l];
        grad[l] = h[l] * gap;
        total[l] += 0.5 * grad[l] * gap;
      }
      if (noise) SCALEVEC_LANES grad[l] += sigma[l] * noise[l];
      SCALEVEC_LANES {
        grad_w[l] = u[l] * v[l] * grad[l];
        row_grad[l] += w[l] * v[l] * grad[l];
      }
      if (!job.grad_v) continue;
      double* __restrict grad_v = job.grad_v + scale;
      SCALEVEC_LANES grad_v[l] += u[l] * w[l] * grad[l];
    }
    if (job.grad_u) SCALEVEC_LANES job.grad_u[i * kLanes + l] = row_grad[l];
  }
  SCALEVEC_LANES job.loss[l] = total[l];
}

void form_forward(const FormJob& job) {
  double squares[kLanes] = {};
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
  double along[kLanes] = {};  // α·∂L/∂v
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
const Table SCALEVEC_ISA_TABLE{
    {&step_sgd, &step_signum, &step_adamw, &step_lion, &step_ademamix}, &normals, &map, &form_forward, &form_backward};

}  // namespace scalevec::simulate
