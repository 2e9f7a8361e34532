#pragma once

// T2 and T3: gradient flow of one effective column θ = γw along a fixed direction. r is θ's signed length there, the
// loss ½h(r − R)², k = γ² − ‖w‖² the conserved imbalance; t is flow time, lr × steps.
namespace scalevec::theory {

struct Flow {
  double h = 1.0;          // curvature, > 0
  double target = 1.0;     // R, either sign or 0
  double imbalance = 1.0;  // k, either sign, 0 or |k| ≥ 1e-140·max(|R|, |r(0)|): only |k| matters
  double initial = 0.0;    // r(0), on either side of R
};

// All throw std::domain_error naming the argument outside its domain; values are finite but where they leave double
// precision's range.

// r(t), t ≥ 0, of dr/dt = √(k² + 4r²) h (R − r). Relative error ≤ 1e-12 where r is away from a zero crossing, else
// absolute against max(|R|, |r(0)|). With k = 0 and r(0)R < 0 the flow ends at 0, with r(0) = 0 it stays there. Source:
// T3, ours.
double flow_position(const Flow& flow, double t);

// R − r(t) to relative error 1e-12, however close r is to R. Source: T3, ours.
double flow_gap(const Flow& flow, double t);

// Time from r(0) to r, which lies between r(0) and R and is not R; std::domain_error also where k = 0 and the flow
// never gets there. Relative error ≤ 1e-12 as the time between the two doubles r(0) and r. Source: T3, ours.
double flow_time(const Flow& flow, double r);

// Time until the loss is `relative` ∈ (0, 1) of the loss at 0. Relative error ≤ 1e-12. Source: T3, ours.
double flow_time_to_loss(const Flow& flow, double relative);

// The same without a scale vector, dr/dt = h(R − r): −ln(relative)/(2h). Source: T3, ours.
double plain_time_to_loss(double h, double relative);

// Λ = h√(k² + 4R²), the rate at which the gap shrinks in the end. Source: T3, ours.
double flow_rate(const Flow& flow);

// P = γ²I + wwᵀ of dθ/dt = −P g: γ² orthogonally to w (c − 1 times), γ² + ‖w‖² along it. Source: paper, Theorem 2.2.
struct PreconditionerSpectrum {
  double orthogonal = 0.0, along = 0.0;
};
PreconditionerSpectrum preconditioner_spectrum(double gamma, double w_norm_sq);

// What γ² cannot fall below under the flow from γ(0): max(0, γ(0)² − ‖w(0)‖²). Source: T2, ours.
double gamma_sq_floor(double gamma0, double w0_norm_sq);

// k after one step of gradient descent on (w, γ), exactly: k − η²(γ²‖g‖² − (w·g)²), g = ∂L/∂θ. Source: T2, ours.
double imbalance_after_step(double k, double lr, double gamma, double grad_norm_sq, double w_dot_grad);

// Sign descent with c = 1 from γ = 1, w = 0, of which γ − |w| is conserved: time to |θ| = R > 0, (√(1 + 4R) − 1)/2, and
// how many times sooner that is than without a scale. Source: T2, ours.
double sign_descent_time(double target);
double sign_descent_speedup(double target);

}  // namespace scalevec::theory
