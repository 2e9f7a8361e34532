#pragma once

#include "scalevec/optim/methods.hpp"

// Methods whose step looks at a matrix as a whole. They train tensors [rows, cols] only and refuse others by name.
// Formulas: docs/optimizers. Shared options: see MethodOptions.
namespace scalevec {

// Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): the momentum's approximate polar factor UVᵀ by
// Newton-Schulz steps. Defaults are torch.optim.Muon's. A role's row_blocks are orthogonalised one by one. State: 4
// bytes per float parameter.
template <class Derived>
class MuonOptionsOf : public MethodOptionsOf<Derived> {
 public:
  double momentum() const { return momentum_; }
  bool nesterov() const { return nesterov_; }
  std::int64_t ns_steps() const { return ns_steps_; }
  const std::string& coefficients() const { return coefficients_; }
  double eps() const { return eps_; }
  const std::string& lr_scaling() const { return lr_scaling_; }
  const std::string& precision() const { return precision_; }
  Derived& momentum(double value) { return this->set(momentum_, value); }
  Derived& nesterov(bool value) { return this->set(nesterov_, value); }
  Derived& ns_steps(std::int64_t value) { return this->set(ns_steps_, value); }
  Derived& coefficients(std::string value) { return this->set(coefficients_, std::move(value)); }
  Derived& eps(double value) { return this->set(eps_, value); }
  Derived& lr_scaling(std::string value) { return this->set(lr_scaling_, std::move(value)); }
  Derived& precision(std::string value) { return this->set(precision_, std::move(value)); }
  friend bool operator==(const MuonOptionsOf&, const MuonOptionsOf&) = default;

  std::vector<OptionField> fields() override;

 protected:
  using MethodOptionsOf<Derived>::MethodOptionsOf;

 private:
  double momentum_ = 0.95;     // μ of m ← μm + (1 − μ)g, in [0, 1)
  bool nesterov_ = true;       // orthogonalises (1 − μ)g + μm in place of m
  std::int64_t ns_steps_ = 5;  // Newton-Schulz steps, 1 to 99
  // "quintic" (Jordan's, singular values end in about [0.7, 1.2]) or "polar_express" (arXiv 2505.16932, converges to
  // 1).
  std::string coefficients_ = "quintic";
  double eps_ =
      1e-7;  // ≥ 0: least norm that the matrix, first scaled by a power of two to a norm in [1, 2), is divided by
  // η is multiplied by: "original" √max(1, rows/cols) (Jordan), "match_rms_adamw" 0.2·√max(rows, cols) (arXiv
  // 2502.16982), "spectral" √(rows/cols) (arXiv 2310.17813); of each row block where there are several.
  std::string lr_scaling_ = "original";
  // Of the Newton-Schulz steps: "bfloat16" (PyTorch's, whatever the parameter), "float32", or "auto" (the parameter's).
  std::string precision_ = "bfloat16";
};

class MuonOptions : public MuonOptionsOf<MuonOptions> {
 public:
  MuonOptions(double lr = 1e-3) : MuonOptionsOf<MuonOptions>(lr, 0.1, DecayCoupling::lr) {}
  std::string_view method() const override { return "muon"; }
  const Method& implementation() const override;
  friend bool operator==(const MuonOptions&, const MuonOptions&) = default;
};

// NorMuon (arXiv 2510.05491): Muon's update with each row divided by a running root mean square of its own, then
// rescaled to the norm that it had. With lr_scaling "match_rms_adamw" the norm becomes 0.2·√(rows·cols), the paper's
// Algorithm 1. Defaults are those of the authors' code. State: 4 bytes per float parameter and 4 per row.
class NorMuonOptions : public MuonOptionsOf<NorMuonOptions> {
 public:
  NorMuonOptions(double lr = 2e-2) : MuonOptionsOf<NorMuonOptions>(lr, 0.0, DecayCoupling::lr) {}
  std::string_view method() const override { return "normuon"; }
  const Method& implementation() const override;
  std::vector<OptionField> fields() override;

  double beta2() const { return beta2_; }
  double row_eps() const { return row_eps_; }
  NorMuonOptions& beta2(double value) { return set(beta2_, value); }
  NorMuonOptions& row_eps(double value) { return set(row_eps_, value); }
  friend bool operator==(const NorMuonOptions&, const NorMuonOptions&) = default;

 private:
  double beta2_ = 0.95;     // decay of a row's mean square, in [0, 1)
  double row_eps_ = 1e-10;  // added to its root, ≥ 0; a row of zeros is not moved
};

// SOAP (Vyas et al., arXiv 2409.11321): AdamW in the eigenbasis of Shampoo's two preconditioners. Defaults are those of
// the authors' code. As there, a parameter's first step sets the bases from its gradient and leaves it as it is. State
// of a float matrix [r, c]: 8rc + 8r² + 8c² bytes, without the square of a side longer than max_precond_dim.
class SOAPOptions : public MethodOptionsOf<SOAPOptions> {
 public:
  SOAPOptions(double lr = 3e-3) : MethodOptionsOf<SOAPOptions>(lr, 0.01, DecayCoupling::lr) {}
  std::string_view method() const override { return "soap"; }
  const Method& implementation() const override;
  std::vector<OptionField> fields() override;

  double beta1() const { return beta1_; }
  double beta2() const { return beta2_; }
  double shampoo_beta() const { return shampoo_beta_; }
  double eps() const { return eps_; }
  std::int64_t precondition_frequency() const { return precondition_frequency_; }
  std::int64_t max_precond_dim() const { return max_precond_dim_; }
  SOAPOptions& beta1(double value) { return set(beta1_, value); }
  SOAPOptions& beta2(double value) { return set(beta2_, value); }
  SOAPOptions& shampoo_beta(double value) { return set(shampoo_beta_, value); }
  SOAPOptions& eps(double value) { return set(eps_, value); }
  SOAPOptions& precondition_frequency(std::int64_t value) { return set(precondition_frequency_, value); }
  SOAPOptions& max_precond_dim(std::int64_t value) { return set(max_precond_dim_, value); }
  friend bool operator==(const SOAPOptions&, const SOAPOptions&) = default;

 private:
  double beta1_ = 0.95;                       // decay of the mean of g, in [0, 1)
  double beta2_ = 0.95;                       // decay of the mean of the rotated g², in [0, 1)
  double shampoo_beta_ = 0.95;                // decay of ggᵀ and gᵀg, in [0, 1)
  double eps_ = 1e-8;                         // added to √v̂, ≥ 0; 0/0 is no update
  std::int64_t precondition_frequency_ = 10;  // steps between updates of the bases, ≥ 1
  std::int64_t max_precond_dim_ = 10000;      // a longer side is not rotated, ≥ 0
};

using Muon = SingleMethodOptimizer<MuonOptions>;
using NorMuon = SingleMethodOptimizer<NorMuonOptions>;
using SOAP = SingleMethodOptimizer<SOAPOptions>;

}  // namespace scalevec
