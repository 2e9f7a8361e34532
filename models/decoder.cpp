#include "scalevec/models/decoder.hpp"

#include <torch/torch.h>

#include <cmath>
#include <stdexcept>

#include "scalevec/models/ops/attention.hpp"
#include "scalevec/models/ops/fused.hpp"

namespace scalevec {
namespace {

using torch::Tensor;

Tensor softcap(const Tensor& x, double cap) { return cap > 0.0 ? at::tanh(x / cap) * cap : x; }

Tensor activate(Activation activation, const Tensor& x) {
  if (activation == Activation::silu) return at::silu(x);
  return at::gelu(x, activation == Activation::gelu_tanh ? "tanh" : "none");
}

// γ_a of the heads of V [kv_heads·head_dim] over the columns of the output projection.
Tensor over_query_heads(const Tensor& gamma, const DecoderOptions& o) {
  if (!gamma.defined() || o.heads == o.kv_heads) return gamma;
  return gamma.view({o.kv_heads, 1, o.head_dim}).expand({-1, o.heads / o.kv_heads, -1}).reshape({-1});
}

}  // namespace

bool Decoder::folds(std::int64_t tokens) const {
  const ScaleOptions& s = options_.scales;
  const bool something = s.branch_attn || s.branch_ffn || s.output.present || s.multipliers.any();
  return options_.execution == Execution::folded ||
         (options_.execution == Execution::automatic && something && tokens >= kFoldTokensPerWidth * options_.width);
}

Tensor Decoder::attend(const Attention& a, const Tensor& q, const Tensor& k, const Tensor& v) {
  const DecoderOptions& o = options_;
  if (o.attn_softcap == 0.0) return ops::attention(q, k, v, o.query_scale, a.window);
  const auto heads_first = [&](const Tensor& x) { return x.repeat_interleave(o.heads / x.size(2), 2).transpose(1, 2); };
  const Tensor scores = softcap(at::matmul(q.transpose(1, 2), heads_first(k).transpose(-1, -2)) * o.query_scale, o.attn_softcap);
  const Tensor seen = ops::visible(q.size(1), a.window, q.options());
  return at::matmul(at::softmax(scores.masked_fill(seen.logical_not(), -INFINITY), -1), heads_first(v)).transpose(1, 2);
}

Tensor Decoder::attention(const Attention& a, const Tensor& x, const Tensor& columns) {
  const DecoderOptions& o = options_;
  const std::int64_t batch = x.size(0), length = x.size(1);
  Tensor q, k, v;
  // γ_a of Q and K behind a norm is applied together with the rotation.
  Tensor q_gamma, k_gamma;
  if (folded_) {
    const std::vector<Tensor> raw = apply_folded({&a.q, &a.k, &a.v}, x, columns);
    q = a.q.norm ? norm_(raw[0]) : raw[0];
    k = a.k.norm ? norm_(raw[1]) : raw[1];
    v = a.v.norm ? norm_(raw[2]) : raw[2];
    if (a.q.norm) q_gamma = a.q.out.value();
    if (a.k.norm) k_gamma = a.k.out.value();
  } else {
    q = apply_naive(a.q, x, norm_);
    k = apply_naive(a.k, x, norm_);
    v = apply_naive(a.v, x, norm_);
  }
  const bool full = o.qk_norm && o.qk_norm_width == QkNormWidth::full;
  if (full) {
    q = norm_(q, a.q_gamma.value());
    k = norm_(k, a.k_gamma.value());
  }
  q = q.unflatten(-1, {o.heads, o.head_dim});
  k = k.unflatten(-1, {o.kv_heads, o.head_dim});
  v = v.unflatten(-1, {o.kv_heads, o.head_dim});
  if (o.qk_norm && !full) {
    q = norm_(q, a.q_gamma.value());
    k = norm_(k, a.k_gamma.value());
  }
  Rope& rope = a.window > 0 ? local_rope_ : rope_;
  const Tensor heads =
      attend(a, rope.rotate(q, q_gamma), rope.rotate(k, k_gamma), v).reshape({batch, length, o.heads * o.head_dim});
  if (!folded_) return apply_naive(a.o, heads, norm_);
  const Tensor y = apply_folded({&a.o}, heads, a.v.out_moves_on ? over_query_heads(a.v.out.value(), o) : Tensor())[0];
  return a.o.norm ? norm_(y, a.o.out.value()) : y;
}

Tensor Decoder::mlp(const Mlp& m, const Tensor& x, const Tensor& columns) const {
  const bool silu = options_.activation == Activation::silu;
  if (!folded_) {
    const Tensor gate = apply_naive(m.gate, x, norm_), up = apply_naive(m.up, x, norm_);
    return apply_naive(m.down, silu ? ops::swiglu(gate, up) : activate(options_.activation, gate) * up, norm_);
  }
  const std::vector<Tensor> raw = apply_folded({&m.gate, &m.up}, x, columns);
  Tensor hidden;
  if (silu && !m.gate.norm && !m.up.norm) {
    hidden = ops::swiglu(raw[0], raw[1]);
  } else if (silu && m.gate.norm && m.up.norm && norm_.kind == NormKind::rms) {
    hidden = ops::normed_swiglu(raw[0], raw[1], m.gate.out.value(), norm_.eps);
  } else {
    const Tensor gate = m.gate.norm ? norm_(raw[0], m.gate.out.value()) : raw[0];
    hidden = activate(options_.activation, gate) * (m.up.norm ? norm_(raw[1]) : raw[1]);
  }
  const Tensor y = apply_folded({&m.down}, hidden, m.up.out_moves_on ? m.up.out.value() : Tensor())[0];
  return m.down.norm ? norm_(y, m.down.out.value()) : y;
}

Tensor Decoder::feed_forward(FeedForward& f, const Tensor& x, const Tensor& columns) {
  const MoeOptions& moe = options_.moe;
  if (moe.experts == 0) return mlp(f.dense, x, columns);
  const Tensor rows = x.reshape({-1, x.size(-1)});
  const Routing routing = route(folded_ ? apply_folded({&f.router}, rows, columns)[0] : apply_naive(f.router, rows, norm_),
                                f.balance, moe);
  Tensor out = f.shared.gate.weight.defined() ? mlp(f.shared, rows, columns) : torch::zeros_like(rows);
  for (std::int64_t e = 0; e < moe.experts; ++e) {
    // An expert without tokens is run on none, so that its parameters get a gradient of zero.
    const std::vector<Tensor> hits = routing.experts.eq(e).nonzero().unbind(1);
    const Tensor weight = routing.weights.index({hits[0], hits[1]}).unsqueeze(-1);
    out = out.index_add(0, hits[0], mlp(f.experts[static_cast<size_t>(e)], rows.index_select(0, hits[0]), columns) * weight);
  }
  if (torch::GradMode::is_enabled() && is_training()) {
    balance_ = balance_.defined() ? balance_ + routing.balance : routing.balance;
    if (f.balance.defined()) balance_bias(f.balance, routing.load, moe.balance_bias_rate);
  }
  return out.view_as(x);
}

template <class Sublayer>
Tensor Decoder::residual(const Tensor& x, const ScaleVector& gamma, const ScaleVector& post, Sublayer sublayer) {
  const DecoderOptions& o = options_;
  const Tensor shared = gamma.value();
  Tensor y = o.pre_norms() ? sublayer(norm_(x, folded_ ? Tensor() : shared), folded_ ? shared : Tensor()) : sublayer(x, Tensor());
  if (o.norm_placement == NormPlacement::post || o.norm_placement == NormPlacement::sandwich) y = norm_(y, post.value());
  if (o.residual_depth_scaling) y = y * (1.0 / std::sqrt(2.0 * static_cast<double>(o.layers)));
  return o.norm_placement == NormPlacement::post_residual ? norm_(x + y, post.value()) : x + y;
}

Tensor Decoder::forward(const Tensor& tokens) {
  folded_ = folds(tokens.numel());
  balance_ = Tensor();
  Tensor x = at::embedding(embed_, tokens);
  if (options_.embed_scale != 1.0) x = x * options_.embed_scale;
  for (size_t layer = 0; layer < attention_.size(); ++layer) {
    const Attention& a = attention_[layer];
    FeedForward& f = feed_forward_[layer];
    x = residual(x, a.gamma, a.post, [&](const Tensor& h, const Tensor& columns) { return attention(a, h, columns); });
    x = residual(x, f.gamma, f.post, [&](const Tensor& h, const Tensor& columns) { return feed_forward(f, h, columns); });
  }
  if (options_.final_norm) x = norm_(x, final_gamma_.value());
  return softcap(at::linear(x, unembed_), options_.logit_softcap);
}

Tensor Decoder::loss(const Tensor& tokens, std::int64_t) {
  if (!tokens.defined() || tokens.dim() != 2 || tokens.size(1) < 2)
    throw std::invalid_argument("a decoder's loss needs tokens [B, T+1] with T at least 1");
  const std::int64_t length = tokens.size(1) - 1;
  const Tensor logits = forward(tokens.narrow(1, 0, length));
  Tensor loss = ops::cross_entropy(logits.view({-1, options_.vocab_size}), tokens.narrow(1, 1, length).reshape({-1}));
  if (options_.moe.balance_loss > 0.0 && balance_.defined())
    loss = loss + balance_ * (options_.moe.balance_loss / static_cast<double>(options_.layers));
  balance_ = Tensor();
  return loss;
}

}  // namespace scalevec
