#include "models/decoder.hpp"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "models/decoder_sites.hpp"
#include "models/grouped_map.hpp"
#include "models/ops/attention.hpp"
#include "models/ops/device.hpp"
#include "models/ops/fused.hpp"

namespace scalevec::models {
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
  const bool behind = std::any_of(map_sites().begin(), map_sites().end(), [&](const std::string& map) {
    return placement_of(s, map) != ScalePlacement::input;
  });
  const bool something = s.branch_attn || s.branch_ffn || behind || s.multipliers.any();
  return options_.execution == Execution::folded ||
         (options_.execution == Execution::automatic && something && tokens >= options_.width);
}

void Decoder::note_max_logits(bool on) {
  if (on && options_.attn_softcap > 0.0)
    throw std::invalid_argument("note_max_logits() with attn_softcap; allowed: without");
  notes_logits_ = on;
  max_logits_.assign(attention_.size(), Tensor());
}

std::vector<Tensor> Decoder::take_max_logits() {
  return std::exchange(max_logits_, std::vector<Tensor>(attention_.size()));
}

Tensor Decoder::attend(const Attention& a, const Tensor& q, const Tensor& k, const Tensor& v) {
  const DecoderOptions& o = options_;
  if (o.attn_softcap == 0.0) {
    if (!notes_logits_ || !torch::GradMode::is_enabled()) return ops::attention(q, k, v, a.score_scale, a.window);
    Tensor here, &noted = max_logits_[a.layer];
    const Tensor out = ops::attention(q, k, v, a.score_scale, a.window, &here);
    noted = noted.defined() ? at::maximum(noted, here) : here;
    return out;
  }
  return ops::capped_attention(q, k, v, a.score_scale, o.attn_softcap, a.window);
}

Tensor Decoder::rotated(Rope* rope, const Tensor& x, std::int64_t heads, const HeadNorm& norm) const {
  const auto by_head = [&](const Tensor& t) { return t.unflatten(-1, {heads, options_.head_dim}); };
  if (norm.kind == HeadNorm::Kind::none) return rope != nullptr ? rope->rotate(by_head(x)) : by_head(x);
  const bool per_head = norm.kind == HeadNorm::Kind::head;
  if (rope != nullptr && norm_.kind == NormKind::rms)
    return rope->norm_rotate(by_head(x), norm.gamma, per_head, norm_.eps);
  const Tensor y = per_head ? norm_(by_head(x), norm.gamma) : by_head(norm_(x, norm.gamma));
  return rope != nullptr ? rope->rotate(y) : y;
}

Tensor Decoder::attention(const Attention& a, const Tensor& x, const Tensor& columns) {
  const DecoderOptions& o = options_;
  using Kind = HeadNorm::Kind;
  Tensor q, k, v;
  HeadNorm q_norm, k_norm;
  if (folded_) {
    const bool in_product = a.v.norm && norm_.kind == NormKind::rms;
    const std::vector<Tensor> raw =
        apply_folded({&a.q, &a.k, &a.v}, x, columns, in_product ? &a.v : nullptr, norm_.eps);
    q = raw[0];
    k = raw[1];
    v = a.v.norm && !in_product ? norm_(raw[2]) : raw[2];
    // A norm behind Q and K, with its γ_a, is taken together with the rotation.
    if (a.q.norm) q_norm = {Kind::full, a.q.out.value()};
    if (a.k.norm) k_norm = {Kind::full, a.k.out.value()};
  } else {
    q = apply_naive(a.q, x, norm_);
    k = apply_naive(a.k, x, norm_);
    v = apply_naive(a.v, x, norm_);
  }
  if (o.qk_norm) {
    const Kind kind = o.qk_norm_width == QkNormWidth::full ? Kind::full : Kind::head;
    q_norm = {kind, a.q_gamma.value()};
    k_norm = {kind, a.k_gamma.value()};
  }
  Rope* rope = a.rotates ? (a.window > 0 ? &local_rope_ : &rope_) : nullptr;
  const Tensor heads = attend(a, rotated(rope, q, o.heads, q_norm), rotated(rope, k, o.kv_heads, k_norm),
                              v.unflatten(-1, {o.kv_heads, o.head_dim}))
                           .reshape({x.size(0), x.size(1), o.heads * o.head_dim});
  if (!folded_) return apply_naive(a.o, heads, norm_);
  const Tensor y =
      apply_folded({&a.o}, heads, a.v.out_folds_into_reader ? over_query_heads(a.v.out.value(), o) : Tensor())[0];
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
  const Tensor y = apply_folded({&m.down}, hidden, m.up.out_folds_into_reader ? m.up.out.value() : Tensor())[0];
  return m.down.norm ? norm_(y, m.down.out.value()) : y;
}

Tensor Decoder::add_experts(Tensor out, const FeedForward& f, const Routing& routing, const Tensor& rows,
                            const Tensor& columns) const {
  if (!ops::device::takes(rows)) {
    for (std::int64_t e = 0; e < options_.moe.experts; ++e) {
      // An expert without tokens is run on none, so that its parameters get a gradient of zero.
      const std::vector<Tensor> hits = routing.experts.eq(e).nonzero().unbind(1);
      const Tensor weight = routing.weights.index({hits[0], hits[1]}).unsqueeze(-1);
      const Tensor y = mlp(f.experts[static_cast<size_t>(e)], rows.index_select(0, hits[0]), columns) * weight;
      out = out.index_add(0, hits[0], y.to(rows.scalar_type()));
    }
    return out;
  }
  const auto every = [&](ScaledMap Mlp::*map) {
    std::vector<const ScaledMap*> out;
    for (const Mlp& expert : f.experts) out.push_back(&(expert.*map));
    return out;
  };
  const std::int64_t chosen = routing.experts.size(-1);
  const Assignments a = sorted_by_expert(routing.experts, options_.moe.experts);
  // A row for each assignment, then in order: the gradient is a sum over dimension 1, in a fixed order.
  const Tensor x = permuted(rows.unsqueeze(1).expand({-1, chosen, -1}).flatten(0, 1), a.order, a.inverse);
  const Tensor gate = apply_grouped(every(&Mlp::gate), x, a, columns, norm_),
               up = apply_grouped(every(&Mlp::up), x, a, columns, norm_);
  const Tensor hidden =
      options_.activation == Activation::silu ? ops::swiglu(gate, up) : activate(options_.activation, gate) * up;
  const Tensor y = apply_grouped(every(&Mlp::down), hidden, a, Tensor(), norm_);
  const Tensor back = permuted(y, a.inverse, a.order).view({-1, chosen, y.size(-1)});
  return out + (back * routing.weights.unsqueeze(-1)).sum(1).to(rows.scalar_type());
}

Tensor Decoder::feed_forward(FeedForward& f, const Tensor& x, const Tensor& columns) {
  const MoeOptions& moe = options_.moe;
  if (moe.experts == 0) return mlp(f.dense, x, columns);
  const Tensor rows = x.reshape({-1, x.size(-1)});
  const bool counts = torch::GradMode::is_enabled() && is_training();
  const Routing routing =
      route(folded_ ? apply_folded({&f.router}, rows, columns)[0] : apply_naive(f.router, rows, norm_), f.balance, moe,
            counts ? batch_sum() : nullptr);
  const Tensor out = add_experts(
      f.shared.gate.weight.defined() ? mlp(f.shared, rows, columns).to(rows.scalar_type()) : torch::zeros_like(rows), f,
      routing, rows, columns);
  if (counts) {
    balance_ = balance_.defined() ? balance_ + routing.balance : routing.balance;
    if (f.balance.defined()) balance_bias(f.balance, routing.load, moe.balance_bias_rate);
  }
  return out.view_as(x);
}

bool Decoder::work_is_fixed() const { return options_.moe.experts == 0 || ops::device::takes(embed_); }

void Decoder::Stream::settle() {
  if (added.defined()) x = x + added;
  added = Tensor();
}

Tensor Decoder::normed(Stream& stream, const Tensor& gamma, ops::Reader reader) const {
  if (!stream.added.defined()) return norm_(stream.x, gamma, reader);
  const auto [sum, y] = norm_.of_sum(stream.x, stream.added, gamma, reader);
  stream = {sum, {}};
  return y;
}

template <class Sublayer>
void Decoder::residual(Stream& stream, const ScaleVector& gamma, const ScaleVector& post, Sublayer sublayer) const {
  const DecoderOptions& o = options_;
  Tensor y;
  if (o.pre_norms()) {
    const Tensor shared = gamma.value();
    // A mixture adds what its experts give in the type of what they read.
    const Tensor h =
        normed(stream, folded_ ? Tensor() : shared, o.moe.experts > 0 ? ops::Reader::any : ops::Reader::products);
    y = sublayer(h, folded_ ? shared : Tensor());
  } else {
    stream.settle();
    y = sublayer(stream.x, Tensor());
  }
  if (o.norm_placement == NormPlacement::post || o.norm_placement == NormPlacement::sandwich)
    y = norm_(y, post.value());
  if (o.residual_depth_scaling) y = y * (1.0 / std::sqrt(2.0 * static_cast<double>(o.layers)));
  if (o.residual_scale != 1.0) y = y * o.residual_scale;
  stream.added = y;
  if (o.norm_placement == NormPlacement::post_residual) stream = {normed(stream, post.value()), {}};
}

Tensor Decoder::forward(const Tensor& tokens) {
  folded_ = folds(tokens.numel());
  balance_ = Tensor();
  Stream stream{at::embedding(embed_, tokens), {}};
  if (options_.embed_scale != 1.0) stream.x = stream.x * options_.embed_scale;
  for (size_t layer = 0; layer < attention_.size(); ++layer) {
    const Attention& a = attention_[layer];
    FeedForward& f = feed_forward_[layer];
    residual(stream, a.gamma, a.post, [&](const Tensor& h, const Tensor& columns) { return attention(a, h, columns); });
    residual(stream, f.gamma, f.post,
             [&](const Tensor& h, const Tensor& columns) { return feed_forward(f, h, columns); });
  }
  if (!options_.final_norm) stream.settle();
  const Tensor x = options_.final_norm ? normed(stream, final_gamma_.value(), ops::Reader::products) : stream.x;
  const Tensor logits = at::linear(x, unembed_);
  return softcap(options_.logit_scale == 1.0 ? logits : logits * options_.logit_scale, options_.logit_softcap);
}

Tensor Decoder::loss(const Tensor& tokens, std::int64_t) {
  if (!tokens.defined() || tokens.dim() != 2 || tokens.size(1) < 2)
    throw std::invalid_argument("a decoder's loss needs tokens [B, T+1] with T at least 1");
  const std::int64_t length = tokens.size(1) - 1;
  const Tensor logits = forward(tokens.narrow(1, 0, length));
  Tensor loss = ops::cross_entropy(logits.view({-1, options_.vocab_size}), tokens.narrow(1, 1, length).reshape({-1}),
                                   /*overwrite=*/true);
  balance_part_ = Tensor();
  if (options_.moe.balance_loss > 0.0 && balance_.defined()) {
    const Tensor part = balance_ * (options_.moe.balance_loss / static_cast<double>(options_.layers));
    balance_part_ = part.detach();
    loss = loss + part;
  }
  balance_ = Tensor();
  return loss;
}

Tensor Decoder::sampled_loss(const Tensor& tokens, const Tensor& uniform) {
  if (!tokens.defined() || tokens.dim() != 2 || tokens.size(1) < 2 ||
      uniform.numel() != tokens.size(0) * (tokens.size(1) - 1))
    throw std::invalid_argument("a decoder's loss needs tokens [B, T+1] with T at least 1, and B·T numbers");
  const Tensor logits = forward(tokens.narrow(1, 0, tokens.size(1) - 1)).view({-1, options_.vocab_size});
  balance_ = Tensor();
  Tensor labels;
  {
    const torch::NoGradGuard no_grad;
    const Tensor wanted = uniform.reshape({-1, 1});
    labels = at::empty({logits.size(0)}, logits.options().dtype(torch::kInt64));
    // Some rows at a time, since a row takes 16 bytes a logit. Running sums of floating point are in no fixed order on
    // a GPU; those of whole multiples of 2⁻⁵² are exact.
    const std::int64_t some = std::max<std::int64_t>((std::int64_t{1} << 26) / options_.vocab_size, 1);
    for (std::int64_t begin = 0; begin < logits.size(0); begin += some) {
      const std::int64_t count = std::min(some, logits.size(0) - begin);
      const Tensor below =
          logits.narrow(0, begin, count).to(torch::kFloat64).softmax(1).mul_(0x1p52).to(torch::kInt64).cumsum(1);
      // Relative to the whole, which rounding leaves a little off 1.
      const Tensor here = wanted.narrow(0, begin, count) * below.narrow(1, options_.vocab_size - 1, 1);
      labels.narrow(0, begin, count).copy_((below <= here).sum(1).clamp_max(options_.vocab_size - 1));
    }
  }
  return ops::cross_entropy(logits, labels, /*overwrite=*/true);
}

}  // namespace scalevec::models
